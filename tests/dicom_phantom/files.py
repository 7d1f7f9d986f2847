"""Writing datasets, and the faults that are made in files afterwards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset


def save(ds: Dataset, path: Path) -> None:
    ds.save_as(path, enforce_file_format=True)


@contextmanager
def edited(path: Path, to: Path | None = None) -> Iterator[FileDataset]:
    """The dataset of a file for changing; it is written back (or to another file) at the end."""
    ds = pydicom.dcmread(path)
    changed = copy.deepcopy(ds)
    yield changed
    save(changed, to or path)


def cut_short(path: Path, drop_bytes: int) -> None:
    """Remove the last bytes of a file, as an interrupted copy does."""
    path.write_bytes(path.read_bytes()[:-drop_bytes])


def to_other_patient(path: Path, patient: str) -> None:
    with edited(path) as ds:
        ds.PatientID = ds.PatientName = patient
