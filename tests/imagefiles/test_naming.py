"""Folders without a mapping file: names that tell, and a proposal that works where they do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.imagefiles.exported import write
from tests.imagefiles.test_volume import TRUTH, VALUES
from vmat_rt.errors import InputError, Problem
from vmat_rt.imagefiles.mapping import MaskSource, read_mapping
from vmat_rt.imagefiles.naming import map_by_names
from vmat_rt.protocol import load_protocol, packaged_protocols

PROTOCOLS = [load_protocol(name) for name in packaged_protocols()]


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def refusal_of(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as refusal:
        map_by_names(folder, PROTOCOLS)
    return refusal.value.problems


def test_tg263_names_and_aliases_tell(tmp_path: Path) -> None:
    names = (
        "CT.nii.gz",
        "dose.nii",
        "PTV_7000.nii.gz",
        "rectum.nii",
        "Femoral Head L.nii.gz",
        ".hidden.nii",
        "note.txt",
    )
    mapping = map_by_names(folder_of(tmp_path, *names), PROTOCOLS)
    assert (mapping.ct, mapping.dose) == ("CT.nii.gz", "dose.nii")
    assert {name: source.file for name, source in mapping.structures.items()} == {
        "PTV_7000": "PTV_7000.nii.gz",
        "rectum": "rectum.nii",
        "Femoral Head L": "Femoral Head L.nii.gz",
    }


def test_segments_of_a_segmentation_tell(tmp_path: Path) -> None:
    path = folder_of(tmp_path, "ct.nii.gz") / "Segmentation.seg.nrrd"
    write(VALUES, TRUTH, path)
    more = b"encoding: gzip\nSegment0_Name:=PTV_7000\nSegment1_Name:=Rectum\nSegment1_LabelValue:=2\n"
    path.write_bytes(path.read_bytes().replace(b"encoding: gzip\n", more))
    assert dict(map_by_names(tmp_path, PROTOCOLS).structures) == {
        "PTV_7000": MaskSource(file=path.name, segment="PTV_7000"),
        "Rectum": MaskSource(file=path.name, segment="Rectum"),
    }


def test_unknown_names_get_a_mapping_that_works_when_it_is_written(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "ct.nii.gz", "PTV_7000.nii.gz", "Rectumm.nii.gz", "couch.nii.gz")
    (problem,) = refusal_of(folder)
    assert problem.code == "NAME_UNKNOWN"
    assert "'Rectumm', 'couch'" in problem.message
    proposed = re.search(r"e\.g\. (\{.*\})\.$", problem.remedy)
    assert proposed is not None
    (folder / "mapping.yaml").write_text(proposed[1])
    mapping = read_mapping(folder / "mapping.yaml")
    assert {name: source.file for name, source in mapping.structures.items()} == {
        "PTV_7000": "PTV_7000.nii.gz",
        "Rectum": "Rectumm.nii.gz",
    }


@pytest.mark.parametrize(
    ("names", "codes"),
    [
        ((), ["NO_IMAGES"]),
        (("note.txt",), ["NO_IMAGES"]),
        (("PTV_7000.nii.gz",), ["NO_CT"]),
        (("ct.nii.gz", "ct.nrrd.nrrd"), ["NAME_UNKNOWN"]),
        (("ct.nii.gz", "CT.nii", "PTV_7000.nii.gz"), ["NO_CT"]),
        (("ct.nii.gz", "dose.nii", "dose.nii.gz", "PTV_7000.nii.gz"), ["SEVERAL_DOSES"]),
        (("ct.nii.gz",), ["TARGET_MISSING"]),
        (("image.nii.gz", "couch.nii.gz"), ["NO_CT", "NAME_UNKNOWN"]),
    ],
)
def test_what_names_do_not_tell(names: tuple[str, ...], codes: list[str], tmp_path: Path) -> None:
    for name in names:
        if name.endswith(".nrrd"):
            write(VALUES, TRUTH, tmp_path / name)
    problems = refusal_of(folder_of(tmp_path, *(name for name in names if not name.endswith(".nrrd"))))
    assert [problem.code for problem in problems] == codes
    assert all(problem.remedy.endswith(".") for problem in problems)


def test_two_files_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "ct.nii.gz", "PTV_7000.nii.gz", "PTV_7000.nii", "Rectum.nii")
    (problem,) = refusal_of(folder)
    assert problem.code == "TWO_ROIS_ONE_NAME"
