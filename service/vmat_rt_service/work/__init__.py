"""What happens to a ready job: workers, how a run ends, and a done job once more."""
