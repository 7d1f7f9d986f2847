"""Indices of targets, effects on organs and gamma in the report."""
