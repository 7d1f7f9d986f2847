"""What is checked at entry, on a pelvis whose dose, sides and volumes are known.

Covers vmat_rt.gate.usual_volumes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cohort.cases import CENTRE, CT_GRID, DOSE_GRID, FRAME, pelvis
from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.gate.codes import CHECKS
from vmat_rt.gate.examine import check_entry
from vmat_rt.gate.usual_volumes import USUAL_VOLUMES
from vmat_rt.grid import Grid
from vmat_rt.protocol import load_protocol, packaged_protocols

DOSES = ("TARGET_NOT_COVERED", "DOSE_SINGLE_BEAM", "DOSE_PER_FRACTION", "DOSE_SCALE", "TARGET_DOSE_UNUSUAL")


def with_dose(gy: float, grid: Grid = DOSE_GRID, **changes: object) -> Case:
    """The pelvis with so much dose everywhere."""
    dose = Volume(grid, np.full(grid.shape, gy, np.float32))
    return replace(pelvis(), reference_dose=dose, prescription=Prescription({"PTV_7000": 70.0}, 28, "plan"), **changes)


def codes(case: Case, site: str = "nowhere") -> dict[str, str]:
    """Code -> severity."""
    return {problem.code: problem.severity for problem in check_entry(case, site)}


@pytest.mark.parametrize(
    ("gy", "code"),
    [
        (70.0, None),
        (63.5, None),
        (76.5, None),
        (62.5, "TARGET_DOSE_UNUSUAL"),
        (78.0, "TARGET_DOSE_UNUSUAL"),
        (43.0, "TARGET_DOSE_UNUSUAL"),
        (41.0, "DOSE_SINGLE_BEAM"),
        (35.0, "DOSE_SINGLE_BEAM"),
        (10.0, "DOSE_SINGLE_BEAM"),
        (2.5, "DOSE_PER_FRACTION"),
        (2.3, "DOSE_PER_FRACTION"),
        (2.0, "DOSE_SINGLE_BEAM"),
        (0.0, "DOSE_SINGLE_BEAM"),
        (106.0, "DOSE_SCALE"),
        (7000.0, "DOSE_SCALE"),
    ],
)
def test_uniform_doses(gy: float, code: str | None) -> None:
    assert [found for found in codes(with_dose(gy)) if found in DOSES] == ([code] if code else [])


def test_what_refuses_and_what_is_noted() -> None:
    assert codes(with_dose(35.0))["DOSE_SINGLE_BEAM"] == "error"
    assert codes(with_dose(60.0))["TARGET_DOSE_UNUSUAL"] == "warning"
    assert codes(replace(pelvis(), reference_dose=None)) == {"NO_DOSE": "error"}


def test_a_lower_target_may_get_the_dose_of_the_higher() -> None:
    both = Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "plan")
    assert "TARGET_DOSE_UNUSUAL" not in codes(replace(with_dose(70.0), prescription=both))
    lower_only = Prescription({"PTV_5600": 56.0}, 28, "plan")
    assert "TARGET_DOSE_UNUSUAL" in codes(replace(with_dose(70.0), prescription=lower_only))


def test_a_target_outside_the_dose_grid_is_refused_with_its_share() -> None:
    """The lowest of PTV_7000's 15 planes of 3 mm lies below a grid that begins 3 mm above the target's lower face."""
    low = CENTRE[0] - 24 + 3
    grid = Grid(
        (40, *DOSE_GRID.shape[1:]), (2.0, *DOSE_GRID.spacing_mm[1:]), (low + 1, *DOSE_GRID.origin_mm[1:]), FRAME
    )
    (problem,) = [p for p in check_entry(with_dose(70.0, grid), "nowhere") if p.severity == "error"]
    assert problem.code == "TARGET_NOT_COVERED"
    assert problem.message.startswith(f"{100 / 15:.1f} % of PTV_7000")


def test_a_dose_that_ends_high_within_the_body_is_noted() -> None:
    small = DOSE_GRID.crop((0, 4, 4), (25, 40, 40))
    assert codes(with_dose(70.0, small)).get("DOSE_CUT_OFF") == "warning"
    assert "DOSE_CUT_OFF" not in codes(with_dose(70.0, CT_GRID.coarsened(2)))


def disc(x_mm: float, as_voxels: bool) -> Contours | Volume:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polygon = np.stack([CENTRE[1] + 12 * np.sin(turn), CENTRE[2] + x_mm + 12 * np.cos(turn)], axis=1)
    planes = tuple(ContourPlane(CENTRE[0] + z, (polygon,)) for z in (-3.0, 0.0, 3.0))
    if not as_voxels:
        return Contours(planes, 3.0, FRAME)
    array = np.zeros(CT_GRID.shape, np.float32)
    column = int(np.rint(CT_GRID.index_of(np.array([CENTRE[0], CENTRE[1], CENTRE[2] + x_mm]))[2]))
    array[15:18, 40:50, column - 5 : column + 6] = 0.5
    return Volume(CT_GRID, array)


@pytest.mark.parametrize("as_voxels", [False, True])
@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (60, -60, set()),
        (-60, 60, {"SIDES_SWAPPED"}),
        (60, 30, {"SIDES_SAME"}),
        (-30, -60, {"SIDES_SAME"}),
        (61, 60, {"SIDES_SAME"}),
    ],
)
def test_sides(left: float, right: float, expected: set[str], as_voxels: bool, clockwise: bool) -> None:
    shapes = {"Femur_Head_L": disc(left, as_voxels), "Femur_Head_R": disc(right, as_voxels)}
    if clockwise:
        shapes = {name: mirrored(shape) for name, shape in shapes.items()}
    heads = {name: Structure(name, name, shape) for name, shape in shapes.items()}
    case = with_dose(70.0)
    found = codes(replace(case, structures={**case.structures, **heads}))
    assert {code for code in found if code.startswith("SIDES")} == expected


def mirrored(shape: Contours | Volume) -> Contours | Volume:
    """The same contours, drawn the other way round."""
    if isinstance(shape, Volume):
        return shape
    planes = tuple(ContourPlane(p.z_mm, tuple(polygon[::-1] for polygon in p.polygons)) for p in shape.planes)
    return replace(shape, planes=planes)


def test_volumes_far_outside_the_usual_are_noted() -> None:
    """Bladder: 19 x 27 mm half axes over 42 mm are 67.7 cc. Rectum: 14 x 16 mm over 89 mm are 62.6 cc. Body: 2.4 l."""
    found = [p for p in check_entry(with_dose(70.0), "prostate") if p.code == "VOLUME_UNUSUAL"]
    assert [p.message.split()[0] for p in found] == ["External"]
    case = with_dose(70.0)
    small = {**case.structures, "Bladder": replace(case.structures["PTV_7000"], name="Bladder", shape=disc(0, False))}
    found = [p for p in check_entry(replace(case, structures=small), "prostate") if p.code == "VOLUME_UNUSUAL"]
    assert {p.message.split(";")[0] for p in found} >= {"Bladder measures 4.05 cc"}


def test_the_table_names_sites_and_structures_that_protocols_have() -> None:
    for site, table in USUAL_VOLUMES.items():
        protocols = [p for p in map(load_protocol, packaged_protocols()) if p.site == site]
        names = {spec.name for protocol in protocols for spec in protocol.structures}
        assert protocols
        assert set(table) <= names
        assert all(0 < usual.low_cc < usual.high_cc and usual.source for usual in table.values())


def test_every_code_is_counted() -> None:
    assert len(set(CHECKS)) == len(CHECKS)
    assert set(DOSES) <= set(CHECKS)
