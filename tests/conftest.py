"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A limit of milliseconds an example would fail on a busy machine, and says nothing of speed: benchmarks do.
settings.register_profile("vmat-rt", deadline=None)
settings.load_profile("vmat-rt")
