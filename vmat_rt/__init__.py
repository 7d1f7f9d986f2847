"""Predicted radiotherapy dose from CT and structures. For research and commissioning, not for treatment."""

from importlib.metadata import version

__version__ = version("vmat-rt")
