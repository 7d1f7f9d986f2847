"""Dose-volume histograms: structures sampled as solids, refined until their metrics stand still."""
