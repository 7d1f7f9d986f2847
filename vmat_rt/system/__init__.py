"""The machine under the work: folders that appear whole, worker processes, threads."""
