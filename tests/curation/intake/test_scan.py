"""Headers read once, files grouped so that nothing that belongs together is parted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dicom_phantom import edited, write_study
from vmat_rt.curation.intake.scan import FolderIndex, Group, is_placeholder
from vmat_rt.dicom.files import Kind


def groups(root: Path, workers: int = 1) -> list[Group]:
    with FolderIndex() as index:
        index.fill(root, workers, progress=False)
        return list(index.groups())


def sizes(found: list[Group]) -> list[tuple[int, int]]:
    """CT slices and structure sets of each group."""
    kinds = [[file.kind for file in group.files] for group in found]
    return sorted((kind.count(Kind.CT), kind.count(Kind.STRUCTURES)) for kind in kinds)


def to_patient(folder: Path, patient: str) -> None:
    for path in folder.rglob("*.dcm"):
        with edited(path) as ds:
            ds.PatientID = patient


def test_one_group_a_patient(tmp_path: Path) -> None:
    for name, patient in (("a", "P1"), ("b", "P1"), ("c", "P2")):
        write_study(tmp_path / name, seed=name, patient=patient)
    assert sizes(groups(tmp_path)) == [(11, 1), (22, 2)]


def test_a_placeholder_is_taken_apart_by_study_and_frame(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        to_patient(write_study(tmp_path / name, seed=name).folder, "ANONYMOUS")
    assert sizes(groups(tmp_path)) == [(11, 1)] * 3


def test_a_structure_set_of_another_study_without_frame_stays_with_its_ct(tmp_path: Path) -> None:
    phantom = write_study(tmp_path / "a", seed="a")
    to_patient(phantom.folder, "")
    with edited(phantom.structures_file) as ds:
        ds.StudyInstanceUID = "1.2.3.4.5"
        del ds.FrameOfReferenceUID
    to_patient(write_study(tmp_path / "b", seed="b").folder, "")
    assert sizes(groups(tmp_path)) == [(11, 1)] * 2


def test_many_files_are_identified_by_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmat_rt.curation.intake.scan._FEW", 0)
    write_study(tmp_path, seed="a")
    assert sizes(groups(tmp_path, workers=2)) == [(11, 1)]


def test_what_cannot_be_read_goes_with_its_folder_where_that_is_one_patients(tmp_path: Path) -> None:
    write_study(tmp_path / "a", seed="a", patient="P1")
    write_study(tmp_path / "b", seed="b", patient="P2")
    broken = b"\0" * 128 + b"DICM" + b"\xff" * 40
    (tmp_path / "a" / "CT" / "broken").write_bytes(broken)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "broken").write_bytes(broken)
    found = groups(tmp_path)
    told = {tuple(sorted({file.patient for file in group.files})): len(group.problems) for group in found}
    assert told == {("P1",): 1, ("P2",): 0, (): 1}


@pytest.mark.parametrize("text", ["", "Anonymous", "ANON", "anonymous^patient", "0000", "N/A", "xxx", "-", "Unknown"])
def test_placeholders(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["1", "P0", "ANON0017", "12345", "Prostate_003", "Nadia", "Xaver", "1000"])
def test_numbers_and_pseudonyms_are_none(text: str) -> None:
    assert not is_placeholder(text)
