"""Training: recipe + cohort -> a run folder with a bundle that predicts. torch and Lightning Fabric live here."""
