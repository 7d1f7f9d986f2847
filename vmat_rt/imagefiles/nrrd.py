"""The header of an NRRD file: whether it stands alone, is of a bearable size and says where its voxels lie.

Format: NRRD (teem.sourceforge.net/nrrd/format.html). Segments of a .seg.nrrd file: 3D Slicer's segmentation format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Never

from vmat_rt.errors import InputError, Problem
from vmat_rt.imagefiles.nifti import report_unreadable, require_size

_LONGEST: Final = 1 << 20
_SPACES: Final = {"right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"}
_FIELD: Final = re.compile(r"([^:]+):([=]| )(.*)")
_SEGMENT_NAME: Final = re.compile(r"segment(\d+)_name")
_MOST_SEGMENTS: Final = 1000


@dataclass(frozen=True)
class Segment:
    """One segment of a .seg.nrrd file: the voxels of layer `layer` that hold `label`."""

    name: str
    label: int
    layer: int


def check_nrrd(path: Path) -> None:
    """Raise InputError unless the file holds its own data, is of a bearable size and has a patient orientation."""
    fields = read_nrrd_fields(path)
    if {"data file", "datafile"} & fields.keys():
        _refuse("IMAGE_UNREADABLE", f"The file {path.name!r} keeps its data in another file.", "Write it in one piece.")
    try:
        require_size(path, tuple(int(size) for size in fields.get("sizes", "").split()))
    except ValueError:
        raise InputError(report_unreadable(path, "has a header that describes no image")) from None
    space, directions = fields.get("space", "").lower(), fields.get("space directions", "")
    if space not in _SPACES or "(" not in directions:
        message = f"The file {path.name!r} does not say how it lies in the patient (space and space directions)."
        _refuse("IMAGE_NO_ORIENTATION", message, "Write it again with its orientation, by the program that knows it.")
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", "")))
    if units - {"mm"}:
        message = f"The file {path.name!r} is measured in {', '.join(sorted(units))}, not in mm."
        _refuse("SPACING_IMPLAUSIBLE", message, "Write it again in millimetres.")


def read_nrrd_fields(path: Path) -> Mapping[str, str]:
    """The fields and key/value pairs of the header, keys in lower case. Raises InputError."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    except OSError as error:
        raise InputError(report_unreadable(path, f"cannot be read ({error.strerror})")) from error
    lines = re.split(rb"\r?\n", raw)
    if not lines[0].startswith(b"NRRD") or b"" not in lines:
        raise InputError(report_unreadable(path, "is not an NRRD file"))
    fields = {}
    for line in lines[1 : lines.index(b"")]:
        match = _FIELD.fullmatch(line.decode("utf-8", errors="replace"))
        if match and not line.startswith(b"#"):
            fields[match[1].strip().lower()] = match[3].strip()
    return fields


def read_segments(path: Path) -> tuple[Segment, ...]:
    """The named segments of a .seg.nrrd file; none of a plain one."""
    fields = read_nrrd_fields(path)
    numbers = [match[1] for match in map(_SEGMENT_NAME.fullmatch, fields) if match][:_MOST_SEGMENTS]
    try:
        return tuple(
            Segment(
                fields[f"segment{number}_name"],
                int(fields.get(f"segment{number}_labelvalue", "1")),
                int(fields.get(f"segment{number}_layer", "0")),
            )
            for number in numbers
        )
    except ValueError:
        raise InputError(report_unreadable(path, "describes a segment by what is not a number")) from None


def _refuse(code: str, message: str, remedy: str) -> Never:
    raise InputError(Problem(code, message, remedy))
