"""The model's grid from its rule, and the warnings for what it cuts off."""

from __future__ import annotations

import numpy as np
import pytest

from tests.geometry.shapes import FRAME, box, structure
from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.errors import InputError
from vmat_rt.geometry.model_grid import check_cut_off, model_grid
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid

CT = Grid((60, 100, 130), (3.0, 1.1, 0.9), (-70.0, -50.0, -60.0), FRAME)
FIXED = GridRule(kind="fixed", shape=(20, 30, 40), spacing_mm=(2.5, 2.5, 2.5))


def tower(name: str, z_mm: tuple[int, int], y: tuple[float, float], x: tuple[float, float]) -> Structure:
    planes = {float(z): [box(y[0], x[0], y[1], x[1])] for z in range(z_mm[0], z_mm[1] + 1, 3)}
    return structure(planes, 3.0, name)


def case(*structures: Structure, ct: Grid = CT, targets: tuple[str, ...] = ("PTV_7000", "PTV_5600")) -> Case:
    body = tower("External", (-70, 107), (-45, 55), (-55, 50))
    return Case(
        key="c0ffee",
        ct=Volume(ct, np.zeros(ct.shape, np.float32)),
        structures={s.name: s for s in (*structures, body) if s.name is not None},
        body=body,
        prescription=Prescription(dict.fromkeys(targets, 70.0), 28, "test"),
        protocol_name="prostate_sib_70_56",
    )


PTV = tower("PTV_7000", (0, 30), (-10, 20), (-15, 10))
PTV_LOW = tower("PTV_5600", (12, 60), (-12, 10), (-5, 25))


def test_a_fixed_grid_is_centred_on_the_union_of_the_targets() -> None:
    grid = model_grid(FIXED, case(PTV, PTV_LOW))
    assert (grid.shape, grid.spacing_mm, grid.frame_uid) == ((20, 30, 40), (2.5, 2.5, 2.5), FRAME)
    np.testing.assert_allclose(grid.centre_mm, ((-1.5 + 61.5) / 2, (-12 + 20) / 2, (-15 + 25) / 2))


def test_a_ct_that_fits_is_the_grid() -> None:
    rule = GridRule(kind="ct_blocks", shape=CT.shape, spacing_mm=(3.2, 1.0, 1.0))
    assert model_grid(rule, case(PTV)) is CT


def test_blocks_coincide_with_ct_voxels() -> None:
    rule = GridRule(kind="ct_blocks", shape=(60, 25, 26), spacing_mm=(3.0, 4.4, 4.4))
    grid = model_grid(rule, case(PTV))
    np.testing.assert_allclose(grid.spacing_mm, (3.0, 4.4, 4.5))
    np.testing.assert_allclose(grid.bounds_mm[0], CT.bounds_mm[0])
    np.testing.assert_allclose(grid.bounds_mm[1], CT.bounds_mm[1])
    noise = np.random.default_rng(0).normal(size=CT.shape).astype(np.float32)
    means = noise.reshape(60, 25, 4, 26, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(resample(Volume(CT, noise), grid, -1000.0).array, means, atol=1e-5)


def test_openkbp_spacing_comes_from_512_pixels() -> None:
    ct = Grid((128, 512, 512), (2.5, 0.977, 0.977), (0.0, -250.0, -250.0), FRAME)
    rule = GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.906, 3.906))
    grid = model_grid(rule, case(tower("PTV_7000", (30, 60), (-10, 20), (-15, 10)), ct=ct))
    np.testing.assert_allclose(grid.spacing_mm, (2.5, 3.908, 3.908))
    np.testing.assert_allclose(grid.origin_mm, (0.0, -250 + 1.5 * 0.977, -250 + 1.5 * 0.977))


def test_an_axis_that_fits_is_not_averaged() -> None:
    """OpenKBP's own patients: slices of 1.5 mm, pixels of 2.7 mm; two of either would come nearer to the rule's."""
    ct = Grid((128, 128, 128), (1.5, 2.7, 2.7), (0.0, -170.0, -170.0), FRAME)
    rule = GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.906, 3.906))
    assert model_grid(rule, case(tower("PTV_7000", (30, 60), (-10, 20), (-15, 10)), ct=ct)) == ct


def test_longer_scans_are_cut_round_the_targets_and_stay_on_the_ct() -> None:
    rule = GridRule(kind="ct_blocks", shape=(20, 25, 26), spacing_mm=(3.0, 4.4, 4.5))
    middle = model_grid(rule, case(PTV))
    # The target's middle, 15 mm, lies in slice 28; a grid of 20 slices begins at 18 or 19.
    assert abs(middle.centre_mm[0] - 15.0) <= 1.5
    assert round((middle.origin_mm[0] - CT.origin_mm[0]) / 3.0, 6) in (18, 19)
    low = model_grid(rule, case(tower("PTV_7000", (-70, -60), (-10, 20), (-15, 10))))
    assert low.bounds_mm[0] == pytest.approx(CT.bounds_mm[0])
    high = model_grid(rule, case(tower("PTV_7000", (98, 107), (-10, 20), (-15, 10))))
    assert high.bounds_mm[1] == pytest.approx(CT.bounds_mm[1])


def test_shorter_scans_lie_in_the_middle_of_the_grid() -> None:
    rule = GridRule(kind="ct_blocks", shape=(67, 32, 33), spacing_mm=(3.0, 4.4, 4.5))
    grid = model_grid(rule, case(PTV))
    (low, high), (ct_low, ct_high) = grid.bounds_mm, CT.bounds_mm
    assert np.subtract(ct_low, low) == pytest.approx([3 * 3.0, 3 * 4.4, 3 * 4.5])
    assert np.subtract(high, ct_high) == pytest.approx([4 * 3.0, 4 * 4.4, 4 * 4.5])


def test_a_grid_needs_a_target() -> None:
    with pytest.raises(InputError) as refusal:
        model_grid(FIXED, case(tower("Rectum", (0, 30), (0, 10), (0, 10))))
    assert refusal.value.problems[0].code == "NO_TARGET"


def test_nothing_to_say_when_everything_fits() -> None:
    assert check_cut_off(case(PTV, PTV_LOW), CT) == ()


def test_structures_that_leave_the_grid_are_named_with_numbers() -> None:
    rectum = tower("Rectum", (-30, 30), (0, 20), (-5, 5))
    pointless = Structure("Marker", "Marker", None)
    # z from -11.5; the rectum spans -31.5 to 31.5, 20 of 63 mm are outside: 4 of 12.6 cc.
    grid = Grid((20, 30, 40), (2.5, 2.5, 2.5), (-10.25, -30.0, -45.0), FRAME)
    (problem,) = check_cut_off(case(PTV, rectum, pointless), grid)
    assert (problem.code, problem.severity) == ("STRUCTURE_CUT_OFF", "warning")
    assert "4.0 of 12.6 cc (31.7 %) of Rectum" in problem.message
    assert "50 x 75 x 100 mm" in problem.message


def test_a_target_that_is_cut_off_is_an_error() -> None:
    grid = Grid((20, 30, 40), (2.5, 2.5, 2.5), (-10.25, -30.0, -25.0 + 15.0), FRAME)
    problems = {p.message.split(" of ")[2].split()[0]: p.severity for p in check_cut_off(case(PTV, PTV_LOW), grid)}
    assert problems == {"PTV_7000": "error", "PTV_5600": "error"}


def test_voxels_are_measured_too() -> None:
    array = np.zeros(CT.shape, np.float32)
    array[10:30, 40:50, 60:70] = 1
    bladder = Structure("Bladder", "Bladder", Volume(CT, array))
    (problem,) = check_cut_off(case(bladder), CT.crop((20, 0, 0), CT.shape))
    assert "(50.0 %) of Bladder" in problem.message
