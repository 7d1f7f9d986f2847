"""Data, programs and packages that lie outside the repository.

The one policy: tests that need them skip with a reason. Only where REQUIRE_EXTERNAL=1 promises that all of it is there
do they fail instead, so that nothing is skipped unseen.

VMAT_RT_SHARED names the folder with `openkbp/` and `real_dicom/`; by default it is looked for beside the repository.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("VMAT_RT_SHARED", REPOSITORY.parent / "shared"))


def _absent(reason: str) -> None:
    if os.environ.get("REQUIRE_EXTERNAL") == "1":
        pytest.fail(f"REQUIRE_EXTERNAL=1 but {reason}")
    pytest.skip(reason)


def shared_folder(name: str) -> Path:
    """The folder `name` of the shared data (`openkbp`, `real_dicom/STS_006`), or skip the test where it is empty."""
    folder = SHARED / name
    if not folder.is_dir() or not any(folder.iterdir()):
        _absent(f"shared data {name!r} is absent (set VMAT_RT_SHARED)")
    return folder


def shared_file(name: str) -> Path:
    """The file `name` of the shared data, or skip the test."""
    file = SHARED / name
    if not file.is_file():
        _absent(f"shared data {name!r} is absent (set VMAT_RT_SHARED)")
    return file


def program(name: str) -> str:
    """Path of an external program, or skip the test.

    Scripts beside this Python do not count: pynetdicom's bear the names of dcmtk's, and are no independent program.
    """
    own = Path(sys.executable).parent
    elsewhere = [folder for folder in os.get_exec_path() if Path(folder) != own]
    found = shutil.which(name, path=os.pathsep.join(elsewhere))
    if found is None:
        _absent(f"the program {name!r} is not installed")
        raise AssertionError
    return found


def module(name: str) -> None:
    """Skip the test where the Python package `name` is not installed."""
    if importlib.util.find_spec(name) is None:
        _absent(f"the Python package {name!r} is not installed")
