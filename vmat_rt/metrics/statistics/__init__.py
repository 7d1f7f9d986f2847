"""Statistics over the cases of a cohort: paired tests, comparison of models, the tidy results file."""
