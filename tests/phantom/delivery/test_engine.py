"""Doses of the engine against direct summation, in water and in patients.

Covers vmat_rt.phantom.delivery.compiled and vmat_rt.phantom.delivery.planes.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.phantom.water import FRAME, SLAB, ellipsoid, everywhere, rectangle_dose
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, GeometryError
from vmat_rt.grid import Grid
from vmat_rt.phantom.delivery.engine import DoseEngine, EngineSettings
from vmat_rt.phantom.delivery.machine import load_machine

MACHINE = load_machine()
ISOCENTRE = (3.0, 10.0, -4.0)
FRONT_MM = -114.0
SSD_MM = 1000.0 + FRONT_MM - ISOCENTRE[1]
PLATE = Grid((55, 1, 75), (1.0, 1.0, 1.0), (ISOCENTRE[0] - 27, ISOCENTRE[1], ISOCENTRE[2] - 37), FRAME)
"""A thin target in the isocentre plane that faces gantry 0."""


def plate_engine(settings: EngineSettings | None = None, density: Volume | None = None) -> DoseEngine:
    return DoseEngine(MACHINE, density or everywhere(SLAB), everywhere(PLATE), ISOCENTRE, [0.0], settings)


def half_sides(engine: DoseEngine) -> tuple[float, float]:
    """Of the rectangle that the bixels of beam 0 fill."""
    rows, columns, index = engine.bixel_map(0)
    assert len(index) == (rows.max() + 1) * (columns.max() + 1)
    return (rows.max() + 1) * engine.settings.bixel_mm / 2, (columns.max() + 1) * engine.settings.bixel_mm / 2


def on_rays(view_mm: np.ndarray, y_mm: float) -> np.ndarray:
    """Points (n, 3) at height y where rays (v, u) of gantry 0 pass."""
    scale = 1 + (y_mm - ISOCENTRE[1]) / 1000
    return np.stack(
        [ISOCENTRE[0] + view_mm[:, 0] * scale, np.full(len(view_mm), y_mm), ISOCENTRE[2] + view_mm[:, 1] * scale], 1
    )


def closed_form(engine: DoseEngine, view_mm: np.ndarray, y_mm: float, depth_mm: float) -> np.ndarray:
    slant = np.sqrt(1 + (view_mm**2).sum(axis=1) / 1e6)
    source = (1000 + y_mm - ISOCENTRE[1]) * slant
    field = rectangle_dose(MACHINE, view_mm, half_sides(engine), depth_mm * slant, SSD_MM)
    return field * (1000 / source) ** 2


class TestClosedForm:
    @pytest.mark.parametrize("settings", [EngineSettings(7, 0), EngineSettings(5, 0), EngineSettings(10, 0, 5)])
    def test_central_axis(self, settings: EngineSettings) -> None:
        """Build-up, exponential fall and inverse square, over the depth of the phantom."""
        engine = plate_engine(settings)
        for y in (-100.0, -90.0, -60.0, 0.0, 60.0, 130.0):
            axis = np.zeros((1, 2))
            got = engine.influence(on_rays(axis, y)).forward(np.ones(engine.bixels))
            np.testing.assert_allclose(got, closed_form(engine, axis, y, y - FRONT_MM), rtol=3e-3)

    def test_profiles_to_the_end_of_the_kernel(self) -> None:
        """Across and beyond the field: within 2 % of the maximum at its edges, where dose falls by 20 % a millimetre,
        within half a per cent in the root mean square, and the tail 40 to 120 mm outside within 4 % of itself."""
        engine = plate_engine(EngineSettings(7, 0))
        rng = np.random.default_rng(7)
        view = rng.uniform((-110, -170), (110, 170), (3000, 2))
        for y in (-90.0, 0.0, 100.0):
            got = engine.influence(on_rays(view, y)).forward(np.ones(engine.bixels))
            want = closed_form(engine, view, y, y - FRONT_MM)
            error = (got - want) / want.max()
            assert np.abs(error).max() < 0.02
            assert np.sqrt((error**2).mean()) < 0.005
            v, u = np.abs(view).T
            tail = (np.maximum(v - half_sides(engine)[0], u - half_sides(engine)[1]) > 40) & (want > 1e-3)
            assert tail.sum() > 300
            np.testing.assert_allclose(got[tail], want[tail], rtol=0.04)

    def test_inverse_square_alone(self) -> None:
        """The same depth under a phantom moved by 60 mm: only the distance to the source (and, hardly, the SSD)."""
        moved = Grid(SLAB.shape, SLAB.spacing_mm, (SLAB.origin_mm[0], SLAB.origin_mm[1] + 60, SLAB.origin_mm[2]), FRAME)
        axis = np.zeros((1, 2))
        near, far = plate_engine(), plate_engine(density=everywhere(moved))
        ones = np.ones(near.bixels)
        ratio = near.influence(on_rays(axis, -40)).forward(ones) / far.influence(on_rays(axis, 20)).forward(ones)
        assert ratio[0] == pytest.approx((1010 / 950) ** 2, rel=4e-3)

    def test_depth_counts_density(self) -> None:
        """Behind 60 mm of density 0.3, a point is 42 mm less deep."""
        density = np.ones(SLAB.shape, np.float32)
        y = SLAB.axis_mm(1)
        light = (y > -60) & (y < 0)
        density[:, light] = 0.3
        engine = plate_engine(density=Volume(SLAB, density))
        axis = np.zeros((1, 2))
        got = engine.influence(on_rays(axis, 60.0)).forward(np.ones(engine.bixels))
        depth = 60 - FRONT_MM - 0.7 * SLAB.spacing_mm[1] * light.sum()
        np.testing.assert_allclose(got, closed_form(engine, axis, 60.0, depth), rtol=5e-3)

    def test_finer_lattices_agree(self) -> None:
        """A field of 70 x 98 mm made of bixels of 14 or 2 mm."""
        rng = np.random.default_rng(3)
        points = on_rays(rng.uniform(-60, 60, (2000, 2)), 20.0)
        doses = []
        for settings in (EngineSettings(14.0, 30, 6), EngineSettings(2.0, 30, 2)):
            engine = plate_engine(settings)
            inside = (np.abs(engine.bixel_centres_mm(0)) < np.array([35.0, 49.0])).all(axis=1)
            assert inside.sum() * settings.bixel_mm**2 == 70 * 98
            doses.append(engine.influence(points).forward(inside.astype(float)))
        assert np.sqrt(((doses[0] - doses[1]) ** 2).mean()) < 0.01 * doses[1].max()


@pytest.fixture(scope="module")
def patient() -> DoseEngine:
    """A water ellipse with a light and a dense inset, five beams, off every symmetry."""
    density = ellipsoid(SLAB, (0, 5, 10), (np.inf, 95, 150)).array
    density -= 0.7 * ellipsoid(SLAB, (0, -20, 60), (60, 25, 30)).array * density
    density += 0.5 * ellipsoid(SLAB, (10, 20, -80), (50, 25, 25)).array * density
    target = ellipsoid(SLAB, (8, 12, -9), (30, 24, 35))
    return DoseEngine(MACHINE, Volume(SLAB, density), target, (8, 12, -9), [0.0, 50.0, 90.0, 215.0, 300.5])


class TestLinearMap:
    def test_adjoint_is_exact(self, patient: DoseEngine) -> None:
        """<A w, g> = <w, A' g> for random vectors, to the precision of float32 sums."""
        rng = np.random.default_rng(0)
        points = rng.uniform((-120, -110, -180), (120, 130, 190), (5000, 3))
        influence = patient.influence(points)
        for _ in range(3):
            weights, gradient = rng.standard_normal(patient.bixels), rng.standard_normal(len(points))
            dose, back = influence.forward(weights).astype(float), influence.adjoint(gradient).astype(float)
            scale = np.linalg.norm(dose) * np.linalg.norm(gradient)
            assert abs(dose @ gradient - weights @ back) < 1e-6 * scale

    def test_columns_match_rows(self, patient: DoseEngine) -> None:
        """Single bixels forward against single points back: every element of a block of the matrix."""
        rng = np.random.default_rng(1)
        points = rng.uniform((-30, -30, -50), (40, 50, 40), (12, 3))
        influence = patient.influence(points)
        chosen = rng.choice(patient.bixels, 40, replace=False)
        columns = np.stack([influence.forward(np.eye(1, patient.bixels, k)[0]) for k in chosen], axis=1)
        rows = np.stack([influence.adjoint(np.eye(1, len(points), n)[0])[chosen] for n in range(len(points))])
        np.testing.assert_allclose(columns, rows, atol=2e-6 * columns.max())
        assert columns.max() > 0.1

    def test_linear(self, patient: DoseEngine) -> None:
        rng = np.random.default_rng(2)
        influence = patient.influence(rng.uniform(-80, 80, (500, 3)))
        a, b = rng.random(patient.bixels), rng.random(patient.bixels)
        together = influence.forward(2 * a + 3 * b)
        np.testing.assert_allclose(together, 2 * influence.forward(a) + 3 * influence.forward(b), rtol=2e-5)

    def test_grid_and_points_agree(self, patient: DoseEngine) -> None:
        grid = Grid((21, 17, 25), (7.0, 8.0, 9.0), (-60.0, -55.0, -110.0), FRAME)
        body = ellipsoid(grid, (0, 5, 10), (np.inf, 95, 150)).array > 0
        body[:3] = False
        weights = np.random.default_rng(4).random(patient.bixels)
        dose = patient.dose(weights, grid, body)
        points = np.argwhere(body) * np.asarray(grid.spacing_mm) + grid.origin_mm
        np.testing.assert_array_equal(dose.array[body], patient.influence(points).forward(weights))
        assert dose.array.dtype == np.float32
        assert not dose.array[~body].any()
        assert dose.array[body].min() > 0

    def test_points_out_of_reach_get_nothing(self, patient: DoseEngine) -> None:
        """Far aside, at a source and behind it: no dose, no crash."""
        far = np.array([[3000, 0, 0], [8, -988, -9], [8, -1200, -9], [8, -2000, 400]], float)
        assert not patient.influence(far).forward(np.ones(patient.bixels)).any()

    @pytest.mark.parametrize(
        "points", [np.full((2, 3), np.nan), np.zeros((3, 2)), np.zeros(3)], ids=["nan", "2-D", "1"]
    )
    def test_points_must_be_places(self, patient: DoseEngine, points: np.ndarray) -> None:
        with pytest.raises(GeometryError, match="points"):
            patient.influence(points)

    def test_no_points(self, patient: DoseEngine) -> None:
        influence = patient.influence(np.zeros((0, 3)))
        assert influence.forward(np.ones(patient.bixels)).shape == (0,)
        assert not influence.adjoint(np.zeros(0)).any()


class TestGeometry:
    @pytest.mark.parametrize(
        ("angle", "entry", "exit_"),
        [(0, (0, -1), (0, 1)), (90, (1, 0), (-1, 0)), (180, (0, 1), (0, -1)), (270, (-1, 0), (1, 0))],
    )
    def test_gantry_enters_from(self, angle: float, entry: tuple[int, int], exit_: tuple[int, int]) -> None:
        """IEC 61217, head-first supine in LPS: 0 from the front (-y), 90 from the patient's left (+x)."""
        grid = Grid((30, 50, 52), (5.0, 4.0, 4.0), (-70.0, -97.0, -103.0), FRAME)
        water = ellipsoid(grid, (0, 0, 0), (np.inf, 90, 90))
        target = ellipsoid(grid, (0, 0, 0), (30, 30, 30))
        engine = DoseEngine(MACHINE, water, target, (0, 0, 0), [angle])
        points = 70.0 * np.array([(0, entry[1], entry[0]), (0, exit_[1], exit_[0]), (0, entry[0], entry[1])])
        first, last, aside = engine.influence(points).forward(np.ones(engine.bixels))
        assert first > 1.5 * last > 5 * aside

    def test_same_from_any_angle(self) -> None:
        """A water cylinder looks alike from everywhere."""
        grid = Grid((30, 70, 74), (5.0, 3.0, 2.9), (-71.0, -103.0, -106.0), FRAME)
        water = ellipsoid(grid, (0, 0, 0), (np.inf, 95, 95))
        fine = Grid((41, 41, 41), (2.0, 2.0, 2.0), (-40, -40, -40), FRAME)
        target = ellipsoid(fine, (0, 0, 0), (35, 30, 30))
        rng = np.random.default_rng(5)
        along = rng.uniform((-50, -50, -70), (50, 50, 70), (800, 3))  # v, u, s at angle zero
        doses = []
        for angle in (0.0, 37.0, 90.0, 215.0):
            sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
            y = along[:, 1] * sine + along[:, 2] * cosine
            x = along[:, 1] * cosine - along[:, 2] * sine
            engine = DoseEngine(MACHINE, water, target, (0, 0, 0), [angle], EngineSettings(7, 40))
            inner = (np.abs(engine.bixel_centres_mm(0)) < 32).all(axis=1).astype(float)
            assert inner.sum() == 81
            doses.append(engine.influence(np.stack([along[:, 0], y, x], 1)).forward(inner))
        for dose in doses[1:]:
            assert np.abs(dose - doses[0]).max() < 0.01 * doses[0].max()

    def test_mirrored_patient_gets_mirrored_dose(self) -> None:
        grid = Grid((24, 40, 61), (6.0, 5.0, 5.0), (-69.0, -97.5, -150.0), FRAME)
        density = ellipsoid(grid, (0, 0, 20), (np.inf, 90, 120)).array
        density -= 0.5 * ellipsoid(grid, (0, 0, 70), (60, 30, 30)).array
        target = ellipsoid(grid, (5, 4, 20), (25, 20, 25)).array
        body = density > 0
        doses = []
        for flip, angles, x in ((1, (30.0, 140.0), 20.0), (-1, (330.0, 220.0), -20.0)):
            volumes = [Volume(grid, np.ascontiguousarray(a[:, :, ::flip])) for a in (density, target)]
            engine = DoseEngine(MACHINE, *volumes, (5, 4, x), angles)
            doses.append(engine.dose(np.ones(engine.bixels), grid, body[:, :, ::flip]).array[:, :, ::flip])
        np.testing.assert_allclose(doses[1], doses[0], atol=1e-4 * doses[0].max())


class TestBixels:
    def test_every_index_once(self, patient: DoseEngine) -> None:
        found = [patient.bixel_map(beam) for beam in range(5)]
        np.testing.assert_array_equal(np.concatenate([index for _, _, index in found]), np.arange(patient.bixels))
        for beam, (rows, columns, index) in enumerate(found):
            assert rows.min() == 0
            assert columns.min() == 0
            assert len(set(zip(rows, columns, strict=True))) == len(index)
            steps = patient.bixel_centres_mm(beam) / patient.settings.bixel_mm
            np.testing.assert_allclose(steps - steps[0], np.stack([rows - rows[0], columns - columns[0]], axis=1))

    def test_target_covered_with_margin(self) -> None:
        """A sphere's projection, grown by the margin, is what a beam opens: a circle, from any angle."""
        grid = Grid((40, 44, 46), (2.0, 2.0, 2.0), (-39.0, -43.0, -45.0), FRAME)
        target = ellipsoid(grid, (0, 0, 0), (25, 25, 25))
        engine = DoseEngine(MACHINE, everywhere(grid), target, (0, 0, 0), [0.0, 123.0], EngineSettings(2.0, 9.0))
        for beam in range(2):
            distance = np.hypot(*engine.bixel_centres_mm(beam).T)
            assert distance.max() == pytest.approx(34, abs=2)
            assert len(distance) * 4 == pytest.approx(np.pi * 34**2, rel=0.08)

    def test_small_target_opens_a_bixel_from_everywhere(self) -> None:
        grid = Grid((3, 4, 5), (2.0, 1.5, 1.0), (9.0, 17.0, 29.0), FRAME)
        engine = DoseEngine(MACHINE, everywhere(SLAB), everywhere(grid), ISOCENTRE, [10.0, 75.0], EngineSettings(20, 0))
        for beam in range(2):
            assert 1 <= len(engine.bixel_map(beam)[2]) <= 4

    def test_no_holes_without_margin(self) -> None:
        assert half_sides(plate_engine(EngineSettings(1.0, 0, 2))) == (27.5, 37.5)


class TestRefusals:
    def test_target_must_fill_voxels(self) -> None:
        with pytest.raises(GeometryError, match="half of any voxel"):
            DoseEngine(MACHINE, everywhere(SLAB), everywhere(SLAB, 0.2), ISOCENTRE, [0.0])

    def test_frames_must_agree(self) -> None:
        other = Grid(SLAB.shape, SLAB.spacing_mm, SLAB.origin_mm, "another")
        with pytest.raises(GeometryError, match="frames"):
            DoseEngine(MACHINE, everywhere(SLAB), everywhere(other), ISOCENTRE, [0.0])
        with pytest.raises(GeometryError, match="frames"):
            plate_engine().dose(np.ones(plate_engine().bixels), other, np.ones(other.shape, bool))

    @pytest.mark.parametrize(
        ("density", "angles"), [(everywhere(SLAB), []), (everywhere(SLAB, 0.0), [0.0])], ids=["no angle", "no matter"]
    )
    def test_needs_an_angle_and_matter(self, density: Volume, angles: list[float]) -> None:
        with pytest.raises(GeometryError):
            DoseEngine(MACHINE, density, everywhere(PLATE), ISOCENTRE, angles)

    @pytest.mark.parametrize("values", [(0.0, 7, 3), (7.0, -1, 3), (7.0, 7, 0)])
    def test_settings(self, values: tuple[float, float, int]) -> None:
        with pytest.raises(ConfigError):
            EngineSettings(*values)

    def test_wrong_length(self, patient: DoseEngine) -> None:
        influence = patient.influence(np.zeros((4, 3)))
        with pytest.raises(GeometryError, match="weights"):
            influence.forward(np.ones(patient.bixels + 1))
        with pytest.raises(GeometryError, match="points"):
            influence.adjoint(np.ones(5))
