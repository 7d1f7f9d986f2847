"""Puts the sample study and the shipped cohort into the wheel: `vmat-rt demo` and `cohort restore` fetch nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SAMPLES = ("README.md", "head_neck_openkbp", "prostate_cohort")


class SamplesHook(BuildHookInterface[Any]):
    """A wheel takes copies; an editable installation finds sample_data in its checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to what the wheel includes. Raises FileNotFoundError when one is absent."""
        if version == "editable":
            return
        for name in SAMPLES:
            source = Path(self.root) / "sample_data" / name
            if not source.exists():
                raise FileNotFoundError(f"{source} is absent, and a wheel without it would have no demo")
            build_data["force_include"][str(source)] = f"vmat_rt/samples/{name}"
