from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.solids import (
    BASE_GY,
    CENTRE,
    FRAME,
    GRADIENTS,
    SLOPE_GY_MM,
    SOLIDS,
    Solid,
    contours_of,
    dose_grid,
    linear_dose,
    uniform_dose,
)
from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.errors import ConfigError, GeometryError, InputError
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import (
    DEFAULT_METRICS,
    Dvh,
    by_structure_name,
    compute_dvh,
    compute_dvhs,
    isodose_volume_cc,
)
from vmat_rt.metrics.dvh.convergence import Accuracy

SPHERE, CYLINDER, CONE = SOLIDS


def box_structure(low: tuple[float, float, float], high: tuple[float, float, float], slab: float = 2.0) -> Structure:
    """A box between two corners (z, y, x) mm, contoured every `slab`."""
    (z0, y0, x0), (z1, y1, x1) = low, high
    ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    count = round((z1 - z0) / slab)
    planes = tuple(ContourPlane(z0 + (k + 0.5) * slab, (ring,)) for k in range(count))
    return Structure("box", None, Contours(planes, slab, FRAME))


def stated_gy(dvh: Dvh) -> float:
    """What the default Accuracy allows a dose metric to be off by."""
    return Accuracy().dose_percent / 100 * float(dvh.value("Dmax") or 0)


def bumpy_dose(seed: int, spacing: float = 2.5) -> Volume:
    """A smooth dose with a steep flank, hot and cold spots."""
    rng = np.random.default_rng(seed)
    grid = dose_grid(spacing)
    z, y, x = np.meshgrid(*(grid.axis_mm(a) - CENTRE[a] for a in range(3)), indexing="ij")
    shift = rng.uniform(-8, 8, 3)
    radius = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
    dose = 70 / (1 + np.exp((radius - rng.uniform(12, 22)) / 5)) + 3 * np.sin(z / 6 + seed) * np.cos(y / 7) + 4
    return Volume(grid, np.maximum(dose, 0).astype(np.float32))


def test_closed_forms_over_all_spacings() -> None:
    errors: dict[float, list[float]] = {}
    volumes = []
    for spacing, solid, gradient, dose_mm in itertools.product(
        (1.0, 1.5, 2.0, 3.0), SOLIDS, GRADIENTS, (1.0, 2.0, 3.0)
    ):
        dvh = compute_dvh(contours_of(solid, spacing), linear_dose(gradient, dose_mm), metrics=["D95%", "D50%", "D2%"])
        for metric, truth in zip(("D95%", "D50%", "D2%"), solid.dose_at(gradient, (0.95, 0.5, 0.02)), strict=True):
            errors.setdefault(spacing, []).append(100 * abs(dvh.value(metric) / truth - 1))
        volumes.append(100 * abs(dvh.volume_cc / solid.volume_cc - 1))
    everything = [e for some in errors.values() for e in some]
    assert np.median(everything) <= 1.0
    assert max(errors[3.0]) <= 5.0
    assert max(errors[1.0]) <= 1.5
    assert np.median(volumes) <= 0.5


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_structure_of_0_3_cc(gradient: str) -> None:
    radius = (300 * 3 / 4 / np.pi) ** (1 / 3)
    cochlea = Solid("sphere", radius, 2 * radius)
    dvh = compute_dvh(contours_of(cochlea, 1.0), linear_dose(gradient, 2.5))
    assert dvh.volume_cc == pytest.approx(0.3, rel=0.02)
    truths = cochlea.dose_at(gradient, (0.95, 0.5, 0.03 / 0.3))
    for metric, truth in zip(("D95%", "Dmedian", "D0.03cc"), truths, strict=True):
        assert dvh.value(metric) == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize(("gradient", "half_mm"), [("along", 10.0), ("across", 15.0)])
def test_box_in_a_gradient_is_a_straight_line(gradient: str, half_mm: float) -> None:
    z, y, x = CENTRE
    dvh = compute_dvh(box_structure((z - 10, y - 12, x - 15), (z + 10, y + 12, x + 15)), linear_dose(gradient, 3.0))
    reach = SLOPE_GY_MM * half_mm
    assert dvh.volume_cc == pytest.approx(20 * 24 * 30 / 1000, rel=1e-6)
    assert dvh.value("Dmin") == pytest.approx(BASE_GY - reach, abs=1e-3)
    assert dvh.value("Dmax") == pytest.approx(BASE_GY + reach, abs=1e-3)
    assert dvh.value("Dmean") == pytest.approx(BASE_GY, abs=0.01)
    for percent in (1, 5, 25, 75, 95, 99):
        truth = BASE_GY + reach * (1 - percent / 50)
        assert dvh.value(f"D{percent}%") == pytest.approx(truth, abs=stated_gy(dvh)), percent
    stated_percent = Accuracy().volume_percent
    assert dvh.value("V50Gy") == pytest.approx(50, abs=stated_percent)
    assert dvh.value("V50Gy[cc]") == pytest.approx(7.2, abs=stated_percent / 100 * dvh.volume_cc)
    assert dvh.value("V100%", 50.0) == pytest.approx(50, abs=stated_percent)
    a, b = BASE_GY - reach, BASE_GY + reach
    assert dvh.value("gEUD[a=8]") == pytest.approx(((b**9 - a**9) / (9 * (b - a))) ** (1 / 8), rel=1e-3)
    assert dvh.value("gEUD[a=1]") == dvh.value("Dmean")
    assert dvh.value("HI") == pytest.approx(2 * reach * 0.96 / BASE_GY, rel=5e-3)


def test_end_caps_are_half_a_slab() -> None:
    z, y, x = CENTRE
    ring = np.array([[y - 5, x - 5], [y - 5, x + 5], [y + 5, x + 5], [y + 5, x - 5]])
    single = Structure("one", None, Contours((ContourPlane(z, (ring,)),), 3.0, FRAME))
    dvh = compute_dvh(single, linear_dose("along", 2.0))
    assert dvh.volume_cc == pytest.approx(0.3)
    assert dvh.value("Dmax") == pytest.approx(BASE_GY + 1.5 * SLOPE_GY_MM, abs=1e-3)
    assert dvh.value("D25%") == pytest.approx(BASE_GY + 0.75 * SLOPE_GY_MM, abs=0.05)


def test_a_hole_is_not_counted() -> None:
    z, y, x = CENTRE
    outer = np.array([[y - 10, x - 10], [y - 10, x + 10], [y + 10, x + 10], [y + 10, x - 10]])
    inner = (outer - (y, x)) / 2 + (y, x)
    planes = tuple(ContourPlane(z + k * 2.0, (outer, inner)) for k in range(-4, 5))
    dvh = compute_dvh(Structure("ring", None, Contours(planes, 2.0, FRAME)), linear_dose("across", 2.0))
    assert dvh.volume_cc == pytest.approx((400 - 100) * 18 / 1000)
    # Between -5 and 5 mm only half of the rows count: 50 of 300 mm2 lie between the axis and 5 mm.
    assert dvh.value("V50Gy") == pytest.approx(50, abs=0.3)
    assert dvh.value(f"V{BASE_GY + 5 * SLOPE_GY_MM:g}Gy") == pytest.approx(100 * 100 / 300, abs=0.3)


def test_uniform_dose_is_reached_everywhere() -> None:
    dvh = compute_dvh(contours_of(SPHERE, 3.0), uniform_dose(70.0), prescription_gy=70.0)
    for metric in ("D95%", "D0.03cc", "Dmean", "Dmin", "Dmax", "Dmedian", "gEUD[a=-10]", "gEUD[a=12]"):
        assert dvh.value(metric) == pytest.approx(70, rel=1e-6), metric
    assert dvh.value("V70Gy") == 100
    assert dvh.value("V100%") == 100
    assert dvh.value("V70.1Gy") == 0
    assert dvh.value("HI") == 0


def test_zero_dose_is_zero_not_unknown() -> None:
    dvh = compute_dvh(contours_of(SPHERE, 3.0), uniform_dose(0.0))
    assert dvh.value("Dmax") == 0
    assert dvh.value("V1Gy") == 0
    assert dvh.value("V0Gy") == 100
    assert dvh.value("gEUD[a=-5]") == 0
    assert dvh.value("HI") is None


def test_hot_spot_between_samples_is_found_in_a_large_structure() -> None:
    """A single hot dose voxel in a 4 litre box: Dmax is the voxel, D0.03cc what the trilinear tent says."""
    grid = Grid((62, 83, 71), (3.0, 2.5, 2.7), (-90.1, -103.3, -95.7), FRAME)
    array = np.full(grid.shape, 20.0, np.float32)
    array[31, 40, 33] = 80.0
    box = box_structure((-70.0, -90.0, -80.0), (70.0, 90.0, 80.0), 5.0)
    dvh = compute_dvh(box, Volume(grid, array))
    assert dvh.value("Dmax") == pytest.approx(80, abs=1e-3)
    side = (np.arange(400) + 0.5) / 200 - 1
    weight = (1 - abs(side))[:, None, None] * (1 - abs(side))[None, :, None] * (1 - abs(side))[None, None, ::4]
    tent = np.sort((20 + 60 * weight).ravel())[::-1]
    share = 30 / (8 * grid.voxel_cc * 1000)
    assert dvh.value("D0.03cc") == pytest.approx(tent[int(share * len(tent))], abs=0.2)


def test_voxel_structure_agrees_with_contours() -> None:
    structure = contours_of(SPHERE, 1.0, offset=0.0)
    grid = dose_grid(1.0, 30.0)
    z, y, x = (grid.axis_mm(a) - CENTRE[a] for a in range(3))
    fraction = np.clip(
        22.0 + 0.5 - np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2), 0, 1
    )
    voxels = Structure("voxels", None, Volume(grid, fraction.astype(np.float32)))
    dose = bumpy_dose(3)
    a, b = compute_dvh(structure, dose), compute_dvh(voxels, dose)
    assert b.volume_cc == pytest.approx(a.volume_cc, rel=5e-3)
    for metric in ("D95%", "D50%", "D5%", "D0.03cc", "Dmean"):
        assert b.value(metric) == pytest.approx(a.value(metric), rel=0.01), metric


@pytest.mark.parametrize(("seed", "solid", "spacing"), [(5, SPHERE, 2.0), (0, CYLINDER, 1.0), (9, CONE, 3.0)])
def test_refinement_changes_no_more_than_stated(seed: int, solid: Solid, spacing: float) -> None:
    structure, dose = contours_of(solid, spacing), bumpy_dose(seed)
    dvh = compute_dvh(structure, dose)
    assert dvh.grid_invariance is not None
    assert dvh.grid_invariance.within_tolerance
    fine = compute_dvh(
        structure, dose, accuracy=Accuracy(dose_percent=1e-6, volume_percent=1e-6, most_cells=12_000_000)
    )
    assert fine.grid_invariance is not None
    assert fine.grid_invariance.step_mm < dvh.grid_invariance.step_mm
    for metric in DEFAULT_METRICS:
        assert fine.value(metric) == pytest.approx(dvh.value(metric), abs=stated_gy(dvh)), metric


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(SOLIDS))
def test_curve_is_monotonic_and_d_and_v_are_inverse(seed: int, solid: Solid) -> None:
    dvh = compute_dvh(contours_of(solid, 2.0), bumpy_dose(seed))
    levels = np.linspace(0, 80, 300)
    percent = dvh.curve(levels)
    assert percent[0] == 100
    assert np.all(np.diff(percent) <= 0)
    for x in (0.5, 2, 10, 50, 90, 98, 99.5):
        dose = dvh.value(f"D{x}%")
        assert dvh.value(f"V{dose:.9f}Gy") == pytest.approx(x, abs=0.02)
        assert dvh.value("Dmin") <= dose <= dvh.value("Dmax")


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-300, 300)] * 3))
def test_translation_does_not_matter(seed: int, shift: tuple[float, float, float]) -> None:
    structure, dose = contours_of(CONE, 2.0), bumpy_dose(seed)
    moved_grid = replace(dose.grid, origin_mm=tuple(o + s for o, s in zip(dose.grid.origin_mm, shift, strict=True)))
    shape = structure.shape
    assert isinstance(shape, Contours)
    planes = tuple(ContourPlane(p.z_mm + shift[0], tuple(q + shift[1:] for q in p.polygons)) for p in shape.planes)
    moved = replace(structure, shape=replace(shape, planes=planes))
    a, b = compute_dvh(structure, dose), compute_dvh(moved, Volume(moved_grid, dose.array))
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(a.value(metric), abs=stated_gy(a)), metric


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 50))
def test_dose_scales(seed: int, factor: float) -> None:
    structure, dose = contours_of(SPHERE, 2.0), bumpy_dose(seed)
    scaled = Volume(dose.grid, (dose.array * np.float32(factor)).astype(np.float32))
    a, b = compute_dvh(structure, dose), compute_dvh(structure, scaled)
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(factor * a.value(metric), abs=factor * stated_gy(a)), metric


def test_axis_order_does_not_matter() -> None:
    """Rows and columns exchanged for contours, all three axes for voxels."""
    structure, dose = contours_of(CONE, 2.0), bumpy_dose(7)
    shape = structure.shape
    assert isinstance(shape, Contours)
    planes = tuple(ContourPlane(p.z_mm, tuple(q[:, ::-1].copy() for q in p.polygons)) for p in shape.planes)
    flipped = replace(structure, shape=replace(shape, planes=planes))
    a = compute_dvh(structure, dose)
    b = compute_dvh(flipped, _reordered(dose, (0, 2, 1)))
    for metric in DEFAULT_METRICS:
        assert b.value(metric) == pytest.approx(a.value(metric), abs=stated_gy(a)), metric
    mask = Volume(dose.grid, (dose.array > 40).astype(np.float32))
    c = compute_dvh(Structure("m", None, mask), dose)
    d = compute_dvh(Structure("m", None, _reordered(mask, (2, 0, 1))), _reordered(dose, (2, 0, 1)))
    for metric in DEFAULT_METRICS:
        assert d.value(metric) == pytest.approx(c.value(metric), abs=stated_gy(c)), metric


def _reordered(volume: Volume, order: tuple[int, int, int]) -> Volume:
    grid = volume.grid
    shape, spacing, origin = (
        tuple(values[axis] for axis in order) for values in (grid.shape, grid.spacing_mm, grid.origin_mm)
    )
    return Volume(Grid(shape, spacing, origin, grid.frame_uid), np.ascontiguousarray(volume.array.transpose(order)))


def test_near_maximum_of_a_tiny_structure_is_its_maximum() -> None:
    tiny = Solid("sphere", 1.5, 3.0)
    dvh = compute_dvh(contours_of(tiny, 0.5), linear_dose("across", 1.0))
    assert dvh.volume_cc < 0.03
    assert dvh.value("D0.03cc") == dvh.value("Dmax")
    reading = dvh.read("D1cc")
    assert reading.value is None
    assert "less than 1 cc" in reading.reason


def test_conformity_of_a_sphere_in_its_own_isodose() -> None:
    grid = dose_grid(2.0)
    z, y, x = (grid.axis_mm(a) - CENTRE[a] for a in range(3))
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    dose = Volume(grid, np.maximum(0, 70 - 1.5 * (radius - 25)).astype(np.float32))
    assert isodose_volume_cc(dose, 70.0) == pytest.approx(4 / 3 * np.pi * 25**3 / 1000, rel=0.01)
    dvh = compute_dvh(contours_of(SPHERE, 2.0), dose, metrics=["CI", "D95%"], prescription_gy=70.0)
    assert dvh.value("CI") == pytest.approx((22 / 25) ** 3, rel=0.01)
    assert dvh.value("CI", 60.0) is None
    assert compute_dvh(contours_of(SPHERE, 2.0), dose).value("CI") is None


def test_structure_beyond_the_dose_grid_has_no_metrics() -> None:
    dose = linear_dose("across", 2.0)
    most_out = contours_of(SPHERE, 2.0, centre=(CENTRE[0], CENTRE[1], dose.grid.bounds_mm[1][2] + 2))
    dvh = compute_dvh(most_out, dose)
    assert dvh.covered_fraction == pytest.approx(SPHERE.share_beyond("across", 2.0), abs=1e-3)
    assert dvh.value("Dmean") is None
    assert "% of it lies in the dose grid" in dvh.read("Dmax").reason
    outside = compute_dvh(contours_of(SPHERE, 2.0, centre=(900.0, 0.0, 0.0)), dose)
    assert outside.covered_fraction == 0
    assert outside.value("Dmax") is None
    assert "outside" in outside.read("Dmax").reason
    assert np.isnan(outside.curve([1.0])).all()


def test_roi_without_contours_is_listed_without_values() -> None:
    dvhs = compute_dvhs([Structure("points", None, None), contours_of(SPHERE, 2.0)], uniform_dose(10.0))
    assert list(dvhs) == ["points", "sphere"]
    assert dvhs["points"].values(["Dmean", "V1Gy"]) == {"Dmean": None, "V1Gy": None}
    assert "no closed contours" in dvhs["points"].reason


def test_two_rois_of_one_name_are_both_there() -> None:
    first, second = contours_of(SPHERE, 2.0), replace(contours_of(CONE, 2.0), roi_name="sphere", number=9)
    assert list(compute_dvhs([first, second], uniform_dose(10.0))) == ["sphere", "sphere (ROI 9)"]


def test_prescription_is_looked_up_by_name_else_the_highest() -> None:
    target = replace(contours_of(SPHERE, 2.0), name="PTV_5600", roi_name="ptv56")
    dvhs = compute_dvhs(
        [target, contours_of(CONE, 2.0)], uniform_dose(56.0), prescription_gy={"PTV_5600": 56, "PTV_7000": 70}
    )
    assert dvhs["ptv56"].value("V100%") == 100
    assert dvhs["cone"].value("V100%") == 0
    assert dvhs["cone"].value("D50%[%]") == pytest.approx(80)
    assert compute_dvh(target, uniform_dose(56.0)).value("V95%") is None


def test_what_is_no_dose_is_named_with_its_voxels() -> None:
    dose = uniform_dose(30.0)
    array = dose.array.copy()
    array[0, 0, :3] = np.nan
    array[1, 1, :2] = -0.5
    with pytest.raises(InputError) as caught:
        compute_dvh(contours_of(SPHERE, 2.0), Volume(dose.grid, array))
    assert [p.code for p in caught.value.problems] == ["DOSE_NAN", "DOSE_NEGATIVE"]
    assert "3 of" in caught.value.problems[0].message
    assert "2 of" in caught.value.problems[1].message
    assert "-0.5" in caught.value.problems[1].message


@pytest.mark.parametrize("voxels", [False, True])
def test_two_frames_never_meet(voxels: bool) -> None:
    dose = uniform_dose(30.0)
    other = Volume(replace(dose.grid, frame_uid="9.9"), dose.array)
    structure = Structure("v", None, dose) if voxels else contours_of(SPHERE, 2.0)
    with pytest.raises(GeometryError):
        compute_dvh(structure, other)


def test_a_metric_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError):
        compute_dvh(contours_of(SPHERE, 2.0), uniform_dose(1.0)).value("D95")


def test_single_voxel_layers_of_dose_are_allowed() -> None:
    z, y, x = CENTRE
    grid = Grid((1, 40, 40), (30.0, 2.0, 2.1), (z, y - 39, x - 41), FRAME)
    dose = Volume(grid, np.full(grid.shape, 5.0, np.float32))
    assert compute_dvh(box_structure((z - 10, y - 5, x - 5), (z + 10, y + 5, x + 5)), dose).value("D50%") == 5


@pytest.mark.parametrize(
    ("rois", "labels"),
    [
        ([("Rektum", "Rectum"), ("Marker", None)], ["Rectum", "Marker"]),
        ([("A", "Rectum"), ("B", "Rectum")], ["Rectum", "B"]),
        ([("Rectum", None), ("Rektum", "Rectum")], ["Rectum (as found)", "Rectum"]),
        ([("Rectum", "Rectum"), ("Rectum", None)], ["Rectum", "Rectum (ROI 1)"]),
    ],
)
def test_dvhs_by_structure_name_lose_none(rois: list[tuple[str, str | None]], labels: list[str]) -> None:
    box = box_structure((-4.0, -4.0, -4.0), (4.0, 4.0, 4.0))
    structures = [replace(box, roi_name=roi_name, name=name) for roi_name, name in rois]
    dvhs = compute_dvhs(structures, uniform_dose(2.0), metrics=["Dmean"])
    named = by_structure_name(dvhs)
    assert list(named) == labels
    assert list(named.values()) == list(dvhs.values())
