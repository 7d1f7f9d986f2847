"""Files that carry one SOPInstanceUID: copies of one object, which count once, or a contradiction."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vmat_rt.dicom.bounds import weigh
from vmat_rt.dicom.files import DicomFile, Kind, Scan, read_whole
from vmat_rt.errors import Problem, listed

UID_TWICE = "UID_TWICE"
_COMPARED_VALUES = 2_000_000
"""Of larger files only the bytes are compared: pydicom makes an object of each value."""
_KEEP_ONE = "Remove the one that is not meant from the folder, or export that object again under a UID of its own."


def without_copies(scan: Scan) -> Scan:
    """The scan with one file of each object, the first by name, and a problem where files of one UID differ.

    Files that differ all stay, so that nothing depends on how they are called.
    """
    same: dict[tuple[Kind, str], list[DicomFile]] = {}
    for file in scan.files:
        same.setdefault((file.kind, file.sop_uid), []).append(file)
    kept: list[DicomFile] = []
    differing: dict[Kind, list[list[DicomFile]]] = {}
    for (kind, sop_uid), files in same.items():
        distinct = _distinct(files) if sop_uid else files
        kept += distinct
        if sop_uid and len(distinct) > 1:
            differing.setdefault(kind, []).append(distinct)
    told = tuple(_problem(kind, groups) for kind, groups in differing.items())
    return replace(scan, files=tuple(kept), problems=(*scan.problems, *told))


def _distinct(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Those whose content none before them has."""
    found: list[DicomFile] = []
    for file in files:
        if not any(_same_content(file, other) for other in found):
            found.append(file)
    return found


def _same_content(one: DicomFile, other: DicomFile) -> bool:
    """Whether two files hold the same bytes, or the same dataset behind another preamble and meta information."""
    try:
        if filecmp.cmp(one.path, other.path, shallow=False):
            return True
        if any(weigh(file.path, str(file.kind)).values > _COMPARED_VALUES for file in (one, other)):
            return False
        first, second = (read_whole(file.path, str(file.kind)).dataset for file in (one, other))
        return bool(first == second)
    except Exception:  # the boundary: pydicom raises whatever the bytes of an element lead it to
        return False


def _problem(kind: Kind, groups: Sequence[Iterable[DicomFile]]) -> Problem:
    """The files of the first objects by name."""
    named = sorted(_named(files) for files in groups)
    message = f"{kind} files carry the same SOPInstanceUID but differ: {listed(named, most=3, longest=120)}."
    return Problem(UID_TWICE, message, _KEEP_ONE)


def _named(files: Iterable[DicomFile]) -> str:
    names = sorted(file.path.name for file in files)
    shown = listed([repr(name) for name in names], most=3, longest=36, last=" and ")
    return f"{shown} in different folders" if len(set(names)) == 1 else shown
