"""Simulated patients and doses: a procedural pelvis and a pencil-beam engine."""
