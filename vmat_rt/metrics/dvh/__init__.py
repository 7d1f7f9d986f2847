"""Dose-volume histograms: structures sampled as solids, refined until their curves hold still."""
