"""Studies whose files contradict one another or lost what links them: refused by name, or taken as the user says."""

from __future__ import annotations

from pathlib import Path

from tests.curation.intake.clinic import added, states, study
from tests.dicom_phantom import edited


def test_an_effective_dose_is_refused_as_one(tmp_path: Path) -> None:
    study(tmp_path / "in", "a", edit_dose=lambda ds: setattr(ds, "DoseType", "EFFECTIVE"))
    assert states(added(tmp_path / "in", tmp_path / "c")) == [("refused", "DOSE_EFFECTIVE")]
    text = (tmp_path / "c" / "refused.csv").read_text()
    assert "DoseType EFFECTIVE" in text
    assert "DoseType PHYSICAL" in text


def test_two_contents_under_one_uid_in_different_folders_are_refused(tmp_path: Path) -> None:
    phantom = study(tmp_path / "in" / "a", "a")
    (tmp_path / "in" / "b").mkdir()
    with edited(phantom.structures_file, tmp_path / "in" / "b" / "rs.dcm") as ds:
        ds.StructureSetLabel = "CHANGED"
    assert ("refused", "UID_TWICE") in states(added(tmp_path / "in", tmp_path / "c"))


def test_sets_that_lost_their_patients_are_added_where_the_user_says_so(tmp_path: Path) -> None:
    """The remedy that the refusal names."""
    phantoms = [study(tmp_path / "in" / name, name) for name in ("a", "b")]
    for phantom in phantoms:
        for k, path in enumerate(phantom.ct_files):
            with edited(path) as ds:
                ds.PatientID = ds.PatientName = f"{phantom.options.patient} ANON {k}"
    refused = added(tmp_path / "in", tmp_path / "c")
    assert {state for state, *_ in states(refused)} == {"refused"}
    assert any("--accept-deidentified" in problem.remedy for one in refused.outcomes for problem in one.problems)
    found = added(tmp_path / "in", tmp_path / "d", deidentified=True)
    assert [state for state, *_ in states(found)] == ["added", "added"]
