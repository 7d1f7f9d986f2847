"""The report over evaluations: one HTML page with its figures beside it, from what `vmat-rt evaluate` left."""
