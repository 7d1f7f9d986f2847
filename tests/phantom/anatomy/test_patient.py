"""Simulated patients, drawn: what touches, what overlaps, what lies where, and that it never changes.

Margins are checked against Euclidean distance maps of finely resampled masks and against bounding boxes, which share no
code with the growing under test.

Covers vmat_rt.phantom.anatomy.bones, vmat_rt.phantom.anatomy.bowel, vmat_rt.phantom.anatomy.lattice,
vmat_rt.phantom.anatomy.organs, vmat_rt.phantom.anatomy.prosthesis, vmat_rt.phantom.anatomy.scene,
vmat_rt.phantom.anatomy.soft and vmat_rt.phantom.anatomy.tissue.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from vmat_rt.case import Volume
from vmat_rt.geometry.body import find_body
from vmat_rt.phantom.anatomy.patient import Patient, hash_anatomy, simulate_patient
from vmat_rt.phantom.anatomy.traits import draw_sizes
from vmat_rt.protocol import load_protocol

SEED = 1
PLAIN, NODAL, SPACER, SINGLE, PROSTHESIS = 0, 5, 7, 16, 19
REGRESSION_SHA256 = "8b971866abb58894dc52cba3e22715df5e734f084dd0e5c02ba8835d181faa19"
EVERYONE = (PLAIN, NODAL, SPACER, SINGLE, PROSTHESIS)
everyone = pytest.mark.parametrize("index", EVERYONE)


@cache
def patient(index: int) -> Patient:
    return simulate_patient(SEED, index)


def fractions(index: int, name: str) -> NDArray[np.float32]:
    shape = patient(index).case.structures[name].shape
    assert isinstance(shape, Volume)
    return shape.array


def cc(index: int, array: NDArray[np.float32]) -> float:
    return float(array.sum(dtype=np.float64)) * patient(index).case.ct.grid.voxel_cc


def overlap_cc(index: int, a: str, b: str) -> float:
    return cc(index, np.minimum(fractions(index, a), fractions(index, b)))


@cache
def distance_outside_mm(index: int, name: str) -> NDArray[np.float64]:
    """From each voxel centre to the nearest one inside the structure."""
    spacing = patient(index).case.ct.grid.spacing_mm
    return np.asarray(ndimage.distance_transform_edt(fractions(index, name) < 0.5, sampling=spacing))


def faces_mm(index: int, name: str, axis: int) -> tuple[float, float]:
    """Lowest and highest position of the half-fraction surface along an axis, between voxel centres."""
    array = np.moveaxis(fractions(index, name), axis, 0)
    line = array.reshape(array.shape[0], -1).max(axis=1).astype(np.float64)
    positions = patient(index).case.ct.grid.axis_mm(axis)
    inside = np.flatnonzero(line >= 0.5)
    first, last = int(inside[0]), int(inside[-1])

    def crossing(out: int, within: int) -> float:
        share = (0.5 - line[out]) / (line[within] - line[out])
        return float(positions[out] + share * (positions[within] - positions[out]))

    return crossing(first - 1, first), crossing(last + 1, last)


@everyone
def test_every_structure_has_its_name_range_and_steps(index: int) -> None:
    case = patient(index).case
    names = {"PTV_7000", "Prostate", "SeminalVes", "Rectum", "Bladder", "Femur_Head_L", "Femur_Head_R"}
    names |= {"Bag_Bowel", "PenileBulb", "External"}
    if patient(index).traits.plan_type == "sib":
        names.add("PTV_5600")
    assert set(case.structures) == names
    known = {spec.name for spec in load_protocol(case.protocol_name).structures}
    assert names <= known
    assert set(case.targets()) == {n for n in names if n.startswith("PTV")}
    for name in names:
        array = fractions(index, name)
        assert array.dtype == np.float32
        assert array.min() == 0
        assert array.max() == 1
        np.testing.assert_array_equal(np.rint(array * 255) / np.float32(255), array)
    assert case.ct.array.dtype == np.float32
    np.testing.assert_array_equal(np.rint(case.ct.array), case.ct.array)


@everyone
def test_grid_is_that_of_a_scanner(index: int) -> None:
    grid = patient(index).case.ct.grid
    assert grid.shape[1] != grid.shape[2]
    assert 2 <= grid.spacing_mm[0] <= 3
    assert 1.2 <= grid.spacing_mm[1] == grid.spacing_mm[2] <= 2
    assert min(abs(v) for v in grid.origin_mm) > 50
    assert grid.frame_uid == f"phantom-{SEED}-{index:04d}"
    lowest = "PTV_5600" if "PTV_5600" in patient(index).case.structures else "PTV_7000"
    low, high = faces_mm(index, lowest, 0)
    scanned = grid.bounds_mm[0][0], grid.bounds_mm[1][0]
    cohort = (low + high) / 2 - 120, (low + high) / 2 + 120
    assert min(scanned[1], cohort[1]) - max(scanned[0], cohort[0]) >= 0.93 * 240


@everyone
def test_volumes_are_a_mans(index: int) -> None:
    ranges = {
        "Prostate": (25, 90),
        "SeminalVes": (8, 14),
        "Bladder": (90, 500),
        "Rectum": (50, 130),
        "PenileBulb": (3, 8),
        "Femur_Head_L": (55, 76),
        "Femur_Head_R": (55, 76),
    }
    for name, (low, high) in ranges.items():
        assert low <= cc(index, fractions(index, name)) <= high, name
    for axis, low, high in ((2, 340, 440), (1, 205, 285)):
        ends = faces_mm(index, "External", axis)
        assert low <= ends[1] - ends[0] <= high


@everyone
def test_left_is_left_and_the_organs_stand_in_their_order(index: int) -> None:
    grid = patient(index).case.ct.grid

    def centre(name: str) -> NDArray[np.float64]:
        found = np.argwhere(fractions(index, name) >= 0.5).mean(axis=0)
        return np.asarray(found * grid.spacing_mm + grid.origin_mm)

    prostate = centre("Prostate")
    assert centre("Femur_Head_L")[2] > prostate[2] + 60
    assert centre("Femur_Head_R")[2] < prostate[2] - 60
    assert centre("Bladder")[0] > prostate[0] + 20
    assert centre("Rectum")[1] > prostate[1] + 15
    assert centre("SeminalVes")[1] > prostate[1]
    assert centre("SeminalVes")[0] > prostate[0]
    assert centre("Bag_Bowel")[0] > centre("SeminalVes")[0] + 20
    assert centre("PenileBulb")[0] < faces_mm(index, "Prostate", 0)[0]


@everyone
def test_bladder_and_vesicles_touch_the_prostate_and_nothing_shares_its_place(index: int) -> None:
    near = distance_outside_mm(index, "Prostate")
    one_voxel = 1.01 * max(patient(index).case.ct.grid.spacing_mm)
    for name in ("Bladder", "SeminalVes"):
        assert near[fractions(index, name) >= 0.5].min() <= one_voxel
    # Voxels on a common surface are shared; beyond that nothing is.
    for a, b in (("Prostate", "Bladder"), ("Prostate", "Rectum"), ("Rectum", "Bladder"), ("Bag_Bowel", "Bladder")):
        both = (fractions(index, a) > 0.75) & (fractions(index, b) > 0.75)
        assert not both.any(), (a, b)


def test_the_rectum_lies_on_the_prostate_unless_a_spacer_detaches_it() -> None:
    for index in EVERYONE:
        rectum = fractions(index, "Rectum")
        gap = distance_outside_mm(index, "Prostate")[rectum >= 0.5].min()
        inside = overlap_cc(index, "PTV_7000", "Rectum")
        if patient(index).traits.rectal_spacer:
            assert gap >= 6
            assert inside < 0.5
        else:
            assert gap <= 1.01 * max(patient(index).case.ct.grid.spacing_mm)
            assert 2 <= inside <= 6.5
            assert 3 <= 100 * inside / cc(index, rectum) <= 12


@everyone
def test_ptv_7000_is_the_prostate_and_seven_millimetres_five_behind(index: int) -> None:
    for axis in (0, 1, 2):
        prostate, target = faces_mm(index, "Prostate", axis), faces_mm(index, "PTV_7000", axis)
        # Along z the surface is only known to a fraction of a slice.
        tolerance = 1.3 if axis == 0 else 0.5
        assert prostate[0] - target[0] == pytest.approx(7, abs=tolerance)
        assert target[1] - prostate[1] == pytest.approx(5 if axis == 1 else 7, abs=tolerance)
    distance = distance_outside_mm(index, "Prostate")[fractions(index, "PTV_7000") >= 0.5]
    # From centre to centre, where the surface may lie half a slice from either.
    assert distance.max() <= 7 + 0.8 * max(patient(index).case.ct.grid.spacing_mm)


@pytest.mark.parametrize("index", [PLAIN, NODAL])
def test_ptv_5600_holds_ptv_7000_and_vesicles_with_their_margin(index: int) -> None:
    low = fractions(index, "PTV_5600")
    assert (low >= fractions(index, "PTV_7000")).all()
    far = distance_outside_mm(index, "SeminalVes")
    # A voxel whose centre is 3 mm from the nearest vesicle centre lies at most 5 mm outside its surface.
    assert (low[far <= 3] > 0.99).all()
    if index == PLAIN:
        near = np.minimum(far, distance_outside_mm(index, "Prostate"))
        assert near[low >= 0.5].max() <= 7 + 0.8 * max(patient(index).case.ct.grid.spacing_mm)


@everyone
def test_targets_stay_five_millimetres_under_the_skin(index: int) -> None:
    spacing = patient(index).case.ct.grid.spacing_mm
    depth = ndimage.distance_transform_edt(fractions(index, "External") >= 0.5, sampling=spacing)
    for name in patient(index).case.targets():
        assert depth[fractions(index, name) >= 0.5].min() >= 5


def test_nodal_volumes_reach_the_sacral_promontory_and_spare_heads_bladder_and_bowel() -> None:
    low, high = faces_mm(NODAL, "PTV_5600", 0)
    assert 140 <= high - low <= 190
    assert cc(NODAL, fractions(NODAL, "PTV_5600")) > 500
    for name in ("Femur_Head_L", "Femur_Head_R"):
        assert distance_outside_mm(NODAL, name)[fractions(NODAL, "PTV_5600") >= 0.5].min() >= 3
    # Only margins enter bladder and bowel.
    margin = draw_sizes(SEED, NODAL).margin_low
    for name in ("Bladder", "Bag_Bowel"):
        inner = ndimage.distance_transform_edt(
            fractions(NODAL, name) >= 0.5, sampling=patient(NODAL).case.ct.grid.spacing_mm
        )
        nodes = (fractions(NODAL, "PTV_5600") >= 0.5) & (distance_outside_mm(NODAL, "Prostate") > 20)
        deepest = inner[nodes & (distance_outside_mm(NODAL, "SeminalVes") > 10)].max()
        # Measured from centre to centre: half a voxel's diagonal may be missing at either end.
        assert deepest <= margin + np.linalg.norm(patient(NODAL).case.ct.grid.spacing_mm)


@everyone
def test_tissues_have_their_hounsfield_units(index: int) -> None:
    hu = patient(index).case.ct.array
    deep = ndimage.binary_erosion(fractions(index, "Bladder") > 0.99, iterations=4)
    assert 0 <= hu[deep].mean() <= 15
    assert 4 <= hu[deep].std() <= 16
    assert 30 <= np.median(hu[fractions(index, "Prostate") > 0.99]) <= 55
    outside = fractions(index, "External") == 0
    assert np.median(hu[outside]) < -900
    # The couch lies below the patient and outside his outline.
    assert (hu[outside] > -400).any()
    back = np.argwhere(fractions(index, "External") >= 0.5)[:, 1].max()
    assert np.argwhere(outside & (hu > -400))[:, 1].min() >= back
    inside = hu[fractions(index, "External") > 0.99]
    shares = [float(((inside > a) & (inside < b)).mean()) for a, b in ((-150, -60), (20, 90), (300, 1500))]
    assert shares[0] > 0.25
    assert shares[1] > 0.25
    assert shares[2] > 0.015
    metal = (hu > 2500).sum() * patient(index).case.ct.grid.voxel_cc
    assert (metal > 20) == patient(index).traits.hip_prosthesis


def test_the_outline_that_is_found_in_the_ct_is_the_outline() -> None:
    found = find_body(patient(PLAIN).case.ct).array > 0.5
    known = fractions(PLAIN, "External") >= 0.5
    assert 2 * (found & known).sum() / (found.sum() + known.sum()) > 0.985


def test_regression_a_patient_is_the_same_everywhere() -> None:
    assert hash_anatomy(patient(SINGLE).case) == REGRESSION_SHA256
    assert hash_anatomy(simulate_patient(SEED, SINGLE).case) == hash_anatomy(patient(SINGLE).case)


def test_a_processor_without_wide_vectors_makes_the_same_patient() -> None:
    """numpy without AVX and FMA stands in for another machine."""
    program = (
        "from vmat_rt.phantom.anatomy.patient import hash_anatomy, simulate_patient\n"
        f"print(hash_anatomy(simulate_patient({SEED}, {SINGLE}).case))\n"
    )
    features = "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == hash_anatomy(patient(SINGLE).case)


def test_the_hash_sees_every_voxel_and_the_place() -> None:
    case = patient(SINGLE).case
    before = hash_anatomy(case)
    case.ct.array[3, 4, 5] += 1
    changed = hash_anatomy(case)
    case.ct.array[3, 4, 5] -= 1
    assert changed != before
    assert hash_anatomy(case) == before
    assert hash_anatomy(patient(PLAIN).case) != before
