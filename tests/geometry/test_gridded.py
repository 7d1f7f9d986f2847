"""A case on one grid: what is rounded, what is kept, and that doing it twice changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cohort.cases import CT_GRID, DOSE_GRID, RULE, pelvis
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.gridded import (
    DOSE_STEP_GY,
    LEVELS,
    convert_levels,
    convert_steps,
    count_dose_steps,
    gridded,
)
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.geometry.rasterize import structure_fraction, volume_cc
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid


@pytest.fixture(scope="module")
def case() -> Case:
    return pelvis()


@pytest.fixture(scope="module")
def grid(case: Case) -> Grid:
    return model_grid(RULE, case)


@pytest.fixture(scope="module")
def placed(case: Case, grid: Grid) -> Case:
    return gridded(case, grid)


def voxels(structure: Structure) -> np.ndarray:
    assert isinstance(structure.shape, Volume)
    return structure.shape.array


def test_everything_lies_on_the_grid(placed: Case, grid: Grid) -> None:
    assert placed.reference_dose is not None
    volumes = [placed.ct, placed.reference_dose, placed.body.shape, *(s.shape for s in placed.structures.values())]
    for volume in volumes:
        assert isinstance(volume, Volume)
        assert volume.grid is grid
        assert volume.array.dtype == np.float32
        assert volume.array.flags.c_contiguous


def test_values_are_the_resampled_ones_within_half_a_step(case: Case, placed: Case, grid: Grid) -> None:
    assert case.reference_dose is not None
    assert placed.reference_dose is not None
    assert np.abs(placed.ct.array - resample(case.ct, grid, -1000.0).array).max() <= 0.5
    assert (placed.ct.array == np.rint(placed.ct.array)).all()
    for name, structure in case.structures.items():
        error = voxels(placed.structures[name]) - structure_fraction(structure, grid)
        assert np.abs(error).max() <= 0.5 / LEVELS + 1e-7
    error = placed.reference_dose.array - resample(case.reference_dose, grid, 0.0, "cubic").array
    assert np.abs(error).max() <= DOSE_STEP_GY / 2 + 1e-5


def test_volumes_are_those_of_the_contours_but_for_a_slice(case: Case, placed: Case) -> None:
    for name, height_mm in (("PTV_7000", 45.0), ("PTV_5600", 60.0)):
        exact = volume_cc(case.structures[name])
        assert volume_cc(placed.structures[name]) == pytest.approx(exact, rel=0.002 + 3.5 / height_mm)
        area = voxels(placed.structures[name])[11].sum() * 3.25 * 3.75
        assert area == pytest.approx(1000 * exact / height_mm, rel=0.001)


def test_twice_is_once(placed: Case, grid: Grid) -> None:
    again = gridded(placed, grid)
    assert placed.reference_dose is not None
    assert again.reference_dose is not None
    np.testing.assert_array_equal(again.ct.array, placed.ct.array)
    np.testing.assert_array_equal(again.reference_dose.array, placed.reference_dose.array)
    assert list(again.structures) == list(placed.structures)
    for name, structure in placed.structures.items():
        np.testing.assert_array_equal(voxels(again.structures[name]), voxels(structure))
    np.testing.assert_array_equal(voxels(again.body), voxels(placed.body))


def test_every_storable_value_comes_back_as_itself() -> None:
    levels = np.arange(LEVELS + 1)
    np.testing.assert_array_equal(np.rint(convert_levels(levels) * np.float32(LEVELS)), levels)
    steps = np.arange(65536)
    np.testing.assert_array_equal(count_dose_steps(convert_steps(steps)), steps)


def test_a_dose_in_hundredths_stays_as_it_is() -> None:
    """OpenKBP publishes two decimals."""
    dose_gy = (np.arange(8000) / 100).astype(np.float32)
    np.testing.assert_allclose(convert_steps(count_dose_steps(dose_gy)), dose_gy, atol=4e-6)


def test_what_has_no_voxel_there_is_absent_and_the_body_stays_one(case: Case, grid: Grid) -> None:
    nothing = Structure("points", "PenileBulb", None)
    afar = Structure("far", "Bag_Bowel", Volume(replace(CT_GRID, origin_mm=(900.0, 0.0, 0.0)), case.ct.array * 0 + 1))
    placed = gridded(replace(case, structures={**case.structures, "PenileBulb": nothing, "Bag_Bowel": afar}), grid)
    assert list(placed.structures) == list(case.structures)
    assert placed.structures["External"] is placed.body
    assert placed.unmapped == ()
    missed = replace(case, body=replace(afar, name="External"), structures={})
    assert not voxels(gridded(missed, grid).body).any()


def test_beyond_the_images_there_is_air_and_no_dose(case: Case) -> None:
    wide = Grid((60, 100, 120), (3.5, 3.25, 3.75), CT_GRID.origin_mm, CT_GRID.frame_uid)
    placed = gridded(case, wide)
    assert placed.reference_dose is not None
    beyond = wide.axis_mm(0) > max(CT_GRID.bounds_mm[1][0], DOSE_GRID.bounds_mm[1][0])
    assert (placed.ct.array[beyond] == -1000).all()
    assert (placed.reference_dose.array[beyond] == 0).all()


def test_values_beyond_sixteen_bits_and_below_zero_are_limited(case: Case) -> None:
    ct = case.ct.array.copy()
    ct[3, 4, 5], ct[3, 4, 6] = 64511, 0.5
    dose = Volume(CT_GRID, np.full(CT_GRID.shape, -0.1, np.float32))
    placed = gridded(replace(case, ct=Volume(CT_GRID, ct), reference_dose=dose), CT_GRID)
    assert placed.ct.array[3, 4, 5:7].tolist() == [32767, 0]
    assert placed.reference_dose is not None
    assert not placed.reference_dose.array.any()


def test_frames_never_mix(case: Case, grid: Grid) -> None:
    with pytest.raises(GeometryError):
        gridded(case, replace(grid, frame_uid="2.3.4"))
