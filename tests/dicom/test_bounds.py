"""Files that claim more than they are: refused before anything is built of them."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.dicom.hostile import EMPTY_ITEM, ROI_CONTOURS, UNDEFINED, element, rewrite
from tests.dicom_phantom import write_study
from vmat_rt.dicom import bounds
from vmat_rt.dicom.bounds import weigh
from vmat_rt.dicom.files import identify, read_header, read_whole
from vmat_rt.errors import InputError, Problem
from vmat_rt.system.samples import STUDY, sample

MANY = 1_500_000
HOSTILE: dict[str, Callable[[Path], None]] = {
    "inflates to 0.4 GB": lambda path: rewrite(
        path, [element(0x30071000, "UT", b"", (400 << 20)), *[bytes(1 << 24)] * 25], deflated=True
    ),
    "1.5 million empty items": lambda path: rewrite(path, [element(ROI_CONTOURS, "SQ", EMPTY_ITEM * MANY)]),
    "1.5 million empty items, deflated": lambda path: rewrite(
        path, [element(ROI_CONTOURS, "SQ", EMPTY_ITEM * MANY)], deflated=True
    ),
    "items that are none": lambda path: rewrite(path, [element(ROI_CONTOURS, "SQ", bytes(8 * MANY))]),
    "items called unknown": lambda path: rewrite(path, [element(ROI_CONTOURS, "UN", EMPTY_ITEM * MANY)]),
    "items without end": lambda path: rewrite(path, [element(ROI_CONTOURS, "SQ", b"", UNDEFINED), EMPTY_ITEM * MANY]),
    "sequences in sequences": lambda path: rewrite(
        path, [(element(ROI_CONTOURS, "SQ", b"", UNDEFINED) + EMPTY_ITEM[:4] + b"\xff" * 4) * 5000]
    ),
    "two million numbers": lambda path: rewrite(path, [element(0x300600C2, "UN", b"0\\" * 2_000_000)]),
}


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    return write_study(tmp_path, ct=False).structures_file


def refusal(call: Callable[[], object]) -> Problem:
    with pytest.raises(InputError) as caught:
        call()
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_file_that_claims_more_than_any_export_is_refused_before_it_is_opened(structures: Path, fault: str) -> None:
    HOSTILE[fault](structures)
    assert structures.stat().st_size < 13e6
    for read in (read_whole, read_header):
        assert refusal(lambda read=read: read(structures, "RTSTRUCT")).code == "DICOM_TOO_LARGE"
    found = identify(structures, "rs.dcm")
    assert not isinstance(found, Problem) or found.code == "DICOM_TOO_LARGE"


def test_inspecting_hostile_files_takes_little_memory_and_time(structures: Path) -> None:
    """All in one folder, on the command line: within 1 GB, and nobody waits a minute."""
    for number, make in enumerate(HOSTILE.values()):
        copy = structures.with_name(f"hostile{number}.dcm")
        copy.write_bytes(structures.read_bytes())
        make(copy)
    begun = time.process_time() + _children()
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))  # noqa: E731
    command = [sys.executable, "-m", "vmat_rt.cli", "inspect", str(structures.parent), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "DICOM_TOO_LARGE" in done.stdout
    assert time.process_time() + _children() - begun < 40


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_file_weighs_what_pydicom_reads_of_it() -> None:
    for path in sorted(sample(STUDY).rglob("*.dcm")):
        ds = pydicom.dcmread(path)
        elements, items = _counted(ds)
        found = weigh(path, "sample")
        assert (found.elements, found.items) == (elements + len(ds.file_meta), items)


def _counted(ds: Dataset) -> tuple[int, int]:
    counts = [(1, 0)] * len(ds)
    for sequence in (one.value for one in ds if one.VR == "SQ"):
        counts += [(n, i + 1) for n, i in map(_counted, sequence)]
    return sum(n for n, _ in counts), sum(i for _, i in counts)


def test_a_long_contour_and_a_large_file_of_pixels_are_no_fault(structures: Path) -> None:
    rewrite(structures, [element(0x300600C2, "UN", b"0\\" * 900_000), element(0x7FE00010, "UN", bytes(50 << 20))])
    assert weigh(structures, "set").values > 900_000


def test_a_header_is_weighed_only_as_far_as_it_is_read(structures: Path) -> None:
    HOSTILE["1.5 million empty items"](structures)
    assert weigh(structures, "set", 0x30060009).items == 0


def test_a_file_longer_than_any_is_refused(structures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_BYTES", 1000)
    assert refusal(lambda: weigh(structures, "the set")).message.startswith("the set is 0.0 GB long")
