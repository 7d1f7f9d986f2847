"""Study -> Case in the terms of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.dicom_phantom import Drawn, beam, disc, edited, write_study
from vmat_rt.case import Case, Contours, Volume
from vmat_rt.dicom.load import load_case, load_structures, prescription_for, structure_problems
from vmat_rt.dicom.prescription.find import Given
from vmat_rt.dicom.study import read_study
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.protocol import BeamAngles, Protocol, StructureSpec

CENTRE_Y, CENTRE_X = -47.3 + 39 * 2.5 / 2, -55.7 + 51 * 2.0 / 2
Z_MM = [-31.5 + 3.0 * k for k in range(11)]


def protocol(*specs: StructureSpec, name: str = "test") -> Protocol:
    structures = specs or (
        StructureSpec(name="PTV_7000", role="target", required=True),
        StructureSpec(name="PTV_5600", role="target", dose_gy=54.0),
        StructureSpec(name="Rectum", role="oar", aliases=("Mastdarm",)),
        StructureSpec(name="Bladder", role="oar"),
        StructureSpec(name="External", role="body", aliases=("BODY",)),
    )
    angles = BeamAngles(step_deg=40, count=9)
    return Protocol(
        schema_version=1, name=name, title=name, site="x", fractions=35, beam_angles=angles, structures=structures
    )


def loaded(folder: Path, prescription: Mapping[str, float] | None = None, fractions: int | None = None) -> Case:
    return load_case(read_study(folder), protocol(), Given(prescription or {}, fractions))


def refusal(folder: Path, prescription: Mapping[str, float] | None = None) -> dict[str, Problem]:
    with pytest.raises(InputError) as caught:
        loaded(folder, prescription)
    return {problem.code: problem for problem in caught.value.problems}


def squares(name: str, number: int, y_mm: float = CENTRE_Y, z_mm: list[float] | None = None) -> Drawn:
    return Drawn(name, number, {z: [disc(y_mm, CENTRE_X, 8)] for z in (z_mm or Z_MM[4:8])})


def test_a_case_in_the_protocols_names(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True)
    case = loaded(tmp_path)
    assert list(case.targets().items()) == [("PTV_7000", 70.0), ("PTV_5600", 56.0)]
    assert set(case.structures) == {"PTV_7000", "PTV_5600", "Rectum", "Bladder", "External"}
    assert case.structures["External"].roi_name == "BODY"
    assert case.body is case.structures["External"]
    assert [structure.roi_name for structure in case.unmapped] == ["Marker", "zz help", "Empty"]
    assert (case.prescription.fractions, case.prescription.source) == (28, "plan")
    assert case.ct.grid.same_as(phantom.grid)
    assert case.reference_dose is not None
    np.testing.assert_allclose(case.reference_dose.array, phantom.dose_gy, atol=1e-3)
    assert len(case.gantry_angles_deg) == 35
    assert [problem.code for problem in case.problems] == ["CONTOUR_NOT_CLOSED"]


def test_a_case_has_no_identity(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True, dose=True, patient="DOE^JANE")
    text = repr(loaded(tmp_path))
    for secret in (
        "DOE",
        "20200102",
        str(tmp_path),
        *(phantom.options.uid(n) for n in ("rs", "rp", "rd", "CT", "study")),
    ):
        assert secret not in text


def test_without_plan_the_protocol_prescribes_what_it_can(tmp_path: Path) -> None:
    write_study(tmp_path)
    problem = refusal(tmp_path)["PRESCRIPTION_UNKNOWN"]
    assert "PTV_7000" in problem.message
    assert "--prescription PTV_7000=70" in problem.remedy


def test_the_user_goes_before_the_plan_and_a_plan_rules_out_the_protocol(tmp_path: Path) -> None:
    write_study(tmp_path, plan=True, prescription_gy={1: 70.0})
    case = loaded(tmp_path, {"ptv 7000": 66.0, "PTV_5600": 54.0}, 33)
    assert case.prescription.dose_gy == {"PTV_7000": 66.0, "PTV_5600": 54.0}
    assert case.prescription.fractions == 33
    assert case.prescription.source == "command line"
    assert "PTV_5600" in refusal(tmp_path)["PRESCRIPTION_UNKNOWN"].message
    assert "PTV_5600" in refusal(tmp_path, {"PTV_7000": 66.0})["PRESCRIPTION_UNKNOWN"].message
    case = loaded(tmp_path, {"PTV_5600": 54.0})
    assert case.prescription.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 54.0}
    assert case.prescription.source == "plan, command line"


def test_a_site_dose_reference_prescribes_by_its_description(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, plan=True)
    with edited(phantom.plan_file) as ds:
        for item, label in zip(ds.DoseReferenceSequence, ("ptv-7000", "PTV 5600"), strict=False):
            del item.ReferencedROINumber
            item.DoseReferenceStructureType, item.DoseReferenceDescription = "SITE", label
    assert loaded(tmp_path).prescription.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 56.0}


def test_a_dose_for_what_is_no_target_is_a_usage_error(tmp_path: Path) -> None:
    write_study(tmp_path, plan=True)
    with pytest.raises(ConfigError, match="Rectum"):
        loaded(tmp_path, {"Rectum": 50.0})


def test_a_dose_for_a_target_that_is_not_contoured(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("PTV_7000", 1),))
    assert "PTV_5600" in refusal(tmp_path, {"PTV_7000": 70.0, "PTV_5600": 56.0})["TARGET_MISSING"].message


def test_a_missing_target_is_named_with_what_was_looked_for(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("Rectum", 3), Drawn("PTV_7000", 1, {})))
    problem = refusal(tmp_path)["TARGET_MISSING"]
    assert "PTV_7000" in problem.message
    assert "aliases" in problem.remedy


def test_an_roi_without_contours_claims_no_name(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("PTV_7000", 1), squares("Rectum", 2), Drawn("Mastdarm", 3, {})))
    case = loaded(tmp_path, {"PTV_7000": 70.0})
    assert case.structures["Rectum"].number == 2
    assert [structure.roi_name for structure in case.unmapped] == ["Mastdarm"]
    assert "ROI_NOT_DRAWN" not in {problem.code for problem in case.problems}


def test_a_target_and_an_organ_without_contours_are_named_in_a_warning(tmp_path: Path) -> None:
    empty = (Drawn("PTV_5600", 2, {}), Drawn("Mastdarm", 3, {}), Drawn("zz ring", 4, {}))
    write_study(tmp_path, rois=(squares("PTV_7000", 1), *empty))
    told = {p.code: p for p in loaded(tmp_path, {"PTV_7000": 70.0}).problems}["ROI_NOT_DRAWN"]
    assert told.severity == "warning"
    assert "'PTV_5600' (PTV_5600), 'Mastdarm' (Rectum)" in told.message
    assert "zz ring" not in told.message


def test_two_rois_of_one_name_are_both_named(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("PTV_7000", 1), squares("Rectum", 2), squares("MASTDARM", 3)))
    problem = refusal(tmp_path, {"PTV_7000": 70.0})["TWO_ROIS_ONE_NAME"]
    assert "'Rectum' and 'MASTDARM'" in problem.message


def test_the_body_is_found_in_the_ct_where_it_is_not_contoured(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, rois=(squares("PTV_7000", 1),), shape=(21, 100, 120))
    case = loaded(tmp_path, {"PTV_7000": 70.0})
    assert isinstance(case.body.shape, Volume)
    assert case.body.name == "External"
    assert "External" not in case.structures
    assert case.problems[-1].code == "NO_EXTERNAL"
    truth = float(np.count_nonzero(phantom.hu > -500))
    assert float(case.body.shape.array.sum()) == pytest.approx(truth, rel=0.05)


def test_what_is_contoured_belongs_to_the_body_that_the_ct_shows(tmp_path: Path) -> None:
    """A CT blanked outside the treated region (as in OpenKBP) must not cut the organs off that were drawn there."""
    write_study(tmp_path, rois=(squares("PTV_7000", 1), squares("Rectum", 2, CENTRE_Y + 90)), shape=(21, 100, 120))
    case = loaded(tmp_path, {"PTV_7000": 70.0})
    rectum = structure_fraction(case.structures["Rectum"], case.ct.grid)
    assert case.ct.array[rectum > 0.5].max() < -900, "the rectum of this phantom lies in air"
    assert isinstance(case.body.shape, Volume)
    assert case.body.shape.array[rectum > 0.5].min() > 0.5


def test_a_structure_outside_the_ct_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("PTV_7000", 1), squares("Rectum", 2, CENTRE_Y + 300)))
    problem = refusal(tmp_path, {"PTV_7000": 70.0})["STRUCTURE_OUTSIDE_CT"]
    assert "'Rectum'" in problem.message


@pytest.mark.parametrize(
    ("roi", "text"),
    [
        (squares("Rectum", 2, CENTRE_Y + 48), "behind"),
        (squares("Rectum", 2, z_mm=[v - 9.0 for v in Z_MM[:6]]), "7.5 mm below its lowest slice"),
    ],
)
def test_a_structure_that_leaves_the_ct_is_a_warning_with_the_distance(tmp_path: Path, roi: Drawn, text: str) -> None:
    write_study(tmp_path, rois=(squares("PTV_7000", 1), roi, squares("BODY", 3)))
    (problem,) = loaded(tmp_path, {"PTV_7000": 70.0}).problems
    assert problem.code == "STRUCTURE_LEAVES_CT"
    assert text in problem.message


def test_contours_that_enclose_nothing_are_an_error(tmp_path: Path) -> None:
    """Out and back along the same bent line: three corners off one line, but no area."""
    bent = np.array([[0.0, 0.0], [0.0, 10.0], [8.0, 10.0], [0.0, 10.0]])
    write_study(tmp_path, rois=(squares("PTV_7000", 1), Drawn("Rectum", 2, {z: [bent] for z in Z_MM[2:6]})))
    assert "4 contours" in refusal(tmp_path, {"PTV_7000": 70.0})["STRUCTURE_EMPTY"].message


@pytest.mark.parametrize(("number", "refused"), [(2, True), (3, False)])
def test_a_damaged_roi_stops_the_job_only_where_the_protocol_uses_it(
    tmp_path: Path, number: int, refused: bool
) -> None:
    rois = (squares("PTV_7000", 1), squares("Rectum", 2), squares("zz help", 3), squares("BODY", 4))
    phantom = write_study(tmp_path, rois=rois)
    with edited(phantom.structures_file) as ds:
        ds.ROIContourSequence[number - 1].ContourSequence[0].NumberOfContourPoints = 5
    if refused:
        assert "CONTOUR_INVALID" in refusal(tmp_path, {"PTV_7000": 70.0})
    else:
        assert [p.code for p in loaded(tmp_path, {"PTV_7000": 70.0}).problems] == ["CONTOUR_INVALID"]


def test_every_problem_of_a_case_is_reported_at_once(tmp_path: Path) -> None:
    far, twice = squares("Bladder", 2, CENTRE_Y + 300), (squares("Rectum", 3), squares("Mastdarm", 4))
    write_study(tmp_path, rois=(far, *twice))
    assert set(refusal(tmp_path)) == {"STRUCTURE_OUTSIDE_CT", "TWO_ROIS_ONE_NAME", "TARGET_MISSING"}


@pytest.mark.parametrize(
    ("position", "expected"),
    [("HFS", (90.0, 200.0)), ("HFP", (20.0, 270.0)), ("FFS", (160.0, 270.0)), ("FFP", (90.0, 340.0))],
)
def test_gantry_angles_follow_the_patient(tmp_path: Path, position: str, expected: tuple[float, ...]) -> None:
    """A beam from 90 degrees enters on the patient's left head first supine, on the right once he is turned."""
    phantom = write_study(tmp_path, plan=True, position=position)
    with edited(phantom.plan_file) as ds:
        ds.BeamSequence = [beam(1, [(90.0, "NONE")]), beam(2, [(200.0, "NONE")])]
    assert loaded(tmp_path).gantry_angles_deg == pytest.approx(expected)


def test_structures_need_neither_ct_nor_target(tmp_path: Path) -> None:
    write_study(tmp_path, rois=(squares("Rectum", 3), squares("Mastdarm", 4), Drawn("Empty", 5, {})), ct=False)
    study = read_study(tmp_path, need_ct=False)
    structures = load_structures(study, protocol())
    assert [(s.roi_name, s.name) for s in structures] == [("Rectum", "Rectum"), ("Mastdarm", "Rectum"), ("Empty", None)]
    assert isinstance(structures[0].shape, Contours)
    assert structures[2].shape is None
    assert [p.code for p in structure_problems(study, protocol())] == ["TWO_ROIS_ONE_NAME"]
    assert [s.name for s in load_structures(study, None)] == [None] * 3
    with pytest.raises(InputError, match="NO_CT"):
        load_case(study, protocol())


def test_prescription_for_some_structures(tmp_path: Path) -> None:
    write_study(tmp_path, plan=True, ct=False)
    study = read_study(tmp_path, need_ct=False)
    found = prescription_for(study, protocol(), load_structures(study, protocol()))
    assert found.dose_gy == {"PTV_7000": 70.0, "PTV_5600": 56.0}
    with pytest.raises(InputError, match="TARGET_MISSING"):
        prescription_for(study, protocol(), ())


@pytest.mark.parametrize(("gapped", "severity"), [("PTV_7000", "error"), ("Rectum", "warning")])
def test_slices_left_out_are_refused_in_a_target_and_told_elsewhere(tmp_path: Path, gapped: str, severity: str) -> None:
    names = ("PTV_7000", "Rectum")
    planes = {name: [z for z in Z_MM[1:9] if name != gapped or z != Z_MM[4]] for name in names}
    rois = tuple(squares(name, number, z_mm=planes[name]) for number, name in enumerate(names, start=1))
    write_study(tmp_path, rois=rois)
    found = {problem.code: problem for problem in structure_problems(read_study(tmp_path), protocol())}
    assert found["ROI_SKIPPED_SLICES"].severity == "warning"
    if severity == "error":
        assert found["TARGET_SLICES_MISSING"].severity == "error"
        assert "TARGET_SLICES_MISSING" in refusal(tmp_path, {"PTV_7000": 70.0})
    else:
        assert "TARGET_SLICES_MISSING" not in found
        assert "Rectum" in loaded(tmp_path, {"PTV_7000": 70.0}).structures
