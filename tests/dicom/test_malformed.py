"""Whatever a file holds, reading ends in a study or in an InputError with problems; never in another exception."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from tests.dicom_phantom import Drawn, Phantom, disc, write_study
from vmat_rt.dicom.dose import read_dose
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.plan import read_plan
from vmat_rt.dicom.prescription.find import Given
from vmat_rt.dicom.study import find_studies, read_files, read_study
from vmat_rt.dicom.write.header import header_from
from vmat_rt.errors import InputError, Problem
from vmat_rt.protocol import load_protocol

pytestmark = pytest.mark.filterwarnings("ignore")
PROTOCOL = load_protocol("prostate_sib_70_56")
ABSURD = ["", "x", "-1", "0", "nan", "1e400", "1\\2\\3\\4\\5\\6\\7", "99999999999999999999", "\\\\"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    rois = tuple(
        Drawn(name, number, {z: [disc(-36.0, -42.0, radius)] for z in (-28.5, -25.5)})
        for number, (name, radius) in enumerate({"PTV_7000": 4.0, "PTV_5600": 6.0, "BODY": 9.0}.items(), 1)
    )
    return write_study(tmp_path_factory.mktemp("study"), plan=True, dose=True, shape=(4, 12, 14), rois=rois)


def read_everything(phantom: Phantom) -> None:
    """Each way of reading; InputError is the only exception that may come, and each of its problems says something."""
    for attempt in (
        lambda: load_case(read_study(phantom.folder), PROTOCOL, Given({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28)),
        lambda: [header_from(read_files(entry, need_ct=False)) for entry in find_studies(phantom.folder)],
        lambda: read_dose(phantom.dose_file),
        lambda: read_plan(phantom.plan_file),
    ):
        problems = refused(attempt)
        assert problems is None or problems
        assert all(p.code.isupper() and p.message and p.remedy for p in problems or ())


def refused(attempt: Callable[[], object]) -> tuple[Problem, ...] | None:
    try:
        attempt()
    except InputError as error:
        return error.problems
    return None


def files_of(phantom: Phantom) -> dict[str, Path]:
    return {
        "ct": phantom.ct_files[2],
        "structures": phantom.structures_file,
        "plan": phantom.plan_file,
        "dose": phantom.dose_file,
    }


class Replaced:
    """A file with other content, put back at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, path.read_bytes()

    def __enter__(self) -> bytes:
        return self.content

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.content)


def parsed(content: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(content))


def test_the_untouched_phantom_loads(phantom: Phantom) -> None:
    assert load_case(read_study(phantom.folder), PROTOCOL).targets() == {"PTV_7000": 70.0, "PTV_5600": 56.0}


@pytest.mark.parametrize("kind", ["ct", "structures", "plan", "dose"])
def test_any_attribute_may_be_absent(phantom: Phantom, kind: str) -> None:
    path = files_of(phantom)[kind]
    with Replaced(path) as content:
        for tag in list(parsed(content).keys()):
            ds = parsed(content)
            del ds[tag]
            _write(ds, path)
            read_everything(phantom)


@pytest.mark.parametrize("kind", ["ct", "structures", "plan", "dose"])
def test_any_attribute_may_hold_anything(phantom: Phantom, kind: str) -> None:
    """Values are put in as raw text under UN, which each reader must convert on its own."""
    path = files_of(phantom)[kind]
    lot = random.Random(3)
    with Replaced(path) as content:
        for tag in list(parsed(content).keys()):
            ds = parsed(content)
            text = lot.choice(ABSURD).encode()
            ds[tag] = RawDataElement(tag, "UN", len(text), text, 0, False, True)
            _write(ds, path)
            read_everything(phantom)


def _write(ds: Dataset, path: Path) -> None:
    ds.save_as(path, implicit_vr=False, little_endian=True)


@pytest.mark.parametrize("kind", ["structures", "plan"])
def test_any_attribute_of_any_item_may_be_absent(phantom: Phantom, kind: str) -> None:
    path = files_of(phantom)[kind]
    with Replaced(path) as content:
        for number in range(_count(parsed(content))):
            ds = parsed(content)
            _remove(ds, number)
            _write(ds, path)
            read_everything(phantom)


def _nested(ds: Dataset, depth: int = 0) -> list[tuple[Dataset, pydicom.tag.BaseTag]]:
    """Every element below the top level; of each sequence the first item alone."""
    found = []
    for element in ds:
        if depth:
            found.append((ds, element.tag))
        if element.VR == "SQ" and element.value:
            found += _nested(element.value[0], depth + 1)
    return found


def _count(ds: Dataset) -> int:
    return len(_nested(ds))


def _remove(ds: Dataset, number: int) -> None:
    item, tag = _nested(ds)[number]
    del item[tag]


@pytest.mark.parametrize("kind", ["ct", "structures", "plan", "dose"])
def test_a_file_may_end_anywhere(phantom: Phantom, kind: str) -> None:
    path = files_of(phantom)[kind]
    with Replaced(path) as content:
        for end in random.Random(1).sample(range(len(content)), 25):
            path.write_bytes(content[:end])
            read_everything(phantom)


@pytest.mark.parametrize("kind", ["ct", "structures", "plan", "dose"])
def test_bytes_may_be_wrong_anywhere(phantom: Phantom, kind: str) -> None:
    path = files_of(phantom)[kind]
    lot = random.Random(2)
    with Replaced(path) as content:
        for _ in range(40):
            damaged = bytearray(content)
            for _ in range(lot.randint(1, 8)):
                damaged[lot.randrange(128, min(len(content), 4000))] = lot.randrange(256)
            path.write_bytes(damaged)
            read_everything(phantom)
