"""Data, programs and packages that lie outside the repository.

Tests that need them skip with a reason, or fail under REQUIRE_EXTERNAL=1.

VMAT_RT_SHARED names the folder with `openkbp/` and `real_dicom/`; by default it is looked for beside the repository.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("VMAT_RT_SHARED", REPOSITORY.parent / "shared"))


def _absent(reason: str) -> None:
    if os.environ.get("REQUIRE_EXTERNAL") == "1":
        pytest.fail(f"REQUIRE_EXTERNAL=1 but {reason}")
    pytest.skip(reason)


def shared_folder(name: str) -> Path:
    """The folder `name` of the shared data, or skip the test."""
    folder = SHARED / name
    if not folder.is_dir():
        _absent(f"shared data {name!r} is absent (set VMAT_RT_SHARED)")
    return folder


def program(name: str) -> str:
    """Path of an external program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        _absent(f"the program {name!r} is not installed")
        raise AssertionError
    return found


def module(name: str) -> None:
    """Skip the test where the Python package `name` is not installed."""
    if importlib.util.find_spec(name) is None:
        _absent(f"the Python package {name!r} is not installed")
