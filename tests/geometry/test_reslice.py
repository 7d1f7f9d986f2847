"""Back onto the slices of the CT: closed forms, and a solid that comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.reslice import reslice
from vmat_rt.grid import Grid, centred_grid

SCAN = Grid((30, 44, 52), (3.0, 1.7, 1.9), (-412.3, 20.7, -61.1), "frame")


def ball(grid: Grid, radius_mm: float, centre: tuple[float, float, float]) -> Volume:
    """Edges one voxel wide, linear."""
    z, y, x = np.meshgrid(*(grid.axis_mm(a) - c for a, c in enumerate(centre)), indexing="ij")
    return Volume(grid, np.clip(0.5 + (radius_mm - np.sqrt(z**2 + y**2 + x**2)) / 1.8, 0, 1).astype(np.float32))


def scanned() -> Case:
    z, y, x = SCAN.centre_mm
    body = Structure("BODY", "External", Volume(SCAN, np.ones(SCAN.shape, np.float32)))
    ramp = np.broadcast_to(np.arange(SCAN.shape[0], dtype=np.float32)[:, None, None] * 9, SCAN.shape)
    structures = {
        "PTV_7000": Structure("t", "PTV_7000", ball(SCAN, 21.0, (z + 1.1, y - 2.0, x + 3.0))),
        "PenileBulb": Structure("b", "PenileBulb", ball(SCAN, 10.0, (z - 14.0, y + 6.0, x - 8.0))),
        "External": body,
    }
    dose = Volume(SCAN, ramp / 4)
    prescription = Prescription({"PTV_7000": 70.0}, 28, "plan")
    return Case("k", Volume(SCAN, ramp.copy()), structures, body, prescription, "prostate_70_28", reference_dose=dose)


@pytest.mark.parametrize("step_mm", [1.25, 2.0, 2.5, 4.1])
def test_what_was_drawn_comes_back(step_mm: float) -> None:
    """Dice >= 0.98 of voxels of the scan; interpolated once only, 4.1 mm give 0.96 for the small one."""
    case = scanned()
    grid = centred_grid((round(96 / step_mm), 40, 48), (step_mm, 2.0, 2.0), SCAN.centre_mm, "frame")
    back = reslice(gridded(case, grid), SCAN.axis_mm(0))
    plane = replace(
        grid, shape=(30, 40, 48), spacing_mm=(3.0, 2.0, 2.0), origin_mm=(SCAN.origin_mm[0], *grid.origin_mm[1:])
    )
    assert back.ct.grid.same_as(plane)
    drawn = gridded(case, plane)
    for name in ("PTV_7000", "PenileBulb"):
        one, other = (c.structures[name].shape.array >= 0.5 for c in (back, drawn))  # type: ignore[union-attr]
        assert 2 * np.count_nonzero(one & other) >= 0.98 * (one.sum() + other.sum()), name
        volumes = [float(c.structures[name].shape.array.sum()) for c in (back, drawn)]  # type: ignore[union-attr]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.01)


def test_nothing_is_spilled_onto_slices_beyond_the_ends() -> None:
    """A cylinder of whole slices: no slice more, none less, each as full as it was."""
    mask = np.zeros(SCAN.shape, np.float32)
    mask[8:19, 10:30, 12:40] = 1
    case = scanned()
    case = replace(case, structures={**case.structures, "Rectum": Structure("r", "Rectum", Volume(SCAN, mask))})
    grid = centred_grid((38, 44, 52), (2.3, *SCAN.spacing_mm[1:]), SCAN.centre_mm, "frame")
    back = reslice(gridded(case, grid), SCAN.axis_mm(0)).structures["Rectum"].shape
    assert isinstance(back, Volume)
    assert np.flatnonzero(back.array.any(axis=(1, 2))).tolist() == list(range(8, 19))
    assert back.array[9:18, 11:29, 13:39].min() > 0.9


def test_ct_is_linear_between_slices_and_the_dose_stays() -> None:
    case = gridded(scanned(), centred_grid((36, 44, 52), (2.5, *SCAN.spacing_mm[1:]), SCAN.centre_mm, "frame"))
    back = reslice(case, SCAN.axis_mm(0))
    assert back.ct.array[2:-2, 20, 20] == pytest.approx(9.0 * np.arange(30)[2:-2], abs=1.0)  # the store rounds HU
    assert back.reference_dose is case.reference_dose
    assert back.body is back.structures["External"]
    assert np.all(back.body.shape.array == 1)  # type: ignore[union-attr]


def test_a_case_on_its_own_slices_or_beside_them_is_returned_as_it_is() -> None:
    case = gridded(scanned(), SCAN)
    assert reslice(case, SCAN.axis_mm(0)) is case
    assert reslice(case, SCAN.axis_mm(0) + 4000.0) is case
