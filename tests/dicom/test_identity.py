"""What in a file says whose it is: whole values and parts of names, and nothing of a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

from tests.dicom_phantom import edited, write_study
from vmat_rt.dicom.identity import identifying_values


def test_names_ids_and_dates_are_found_whole_and_in_parts(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, patient="Müller-Lüd^Anna^Dr")
    with edited(phantom.structures_file) as ds:
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.PatientID, ds.PatientBirthDate, ds.OtherPatientIDs = "MRN 4711", "19500228", ["A-12", "B-77"]
        ds.AccessionNumber, ds.StudyID = "ACC9", "7"
    found = identifying_values(phantom.structures_file)
    assert {"Müller-Lüd^Anna^Dr", "Müller-Lüd", "Anna", "MRN 4711", "4711", "19500228", "A-12", "B-77", "ACC9"} <= found
    assert not {"Dr", "7", ""} & found, "too short to be told from any word"


def test_a_file_that_is_no_dicom_has_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Patient Anna")
    assert identifying_values(tmp_path / "notes.txt") == frozenset()
    assert identifying_values(tmp_path / "absent") == frozenset()
