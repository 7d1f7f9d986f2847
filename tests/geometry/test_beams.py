"""Beam geometry against closed forms. The phantom has every axis different and lies off zero."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vmat_rt.case import Volume
from vmat_rt.errors import GeometryError
from vmat_rt.geometry import rays
from vmat_rt.geometry.beams import compute_beam_maps, compute_centroid_mm, compute_relative_density, thin_angles
from vmat_rt.geometry.fluence import Wish, plan_doses
from vmat_rt.geometry.ray_kernels import ATTENUATION_PER_MM, SAD_MM
from vmat_rt.geometry.rays import measure_target_chords, place_beams
from vmat_rt.grid import Grid, Triple, centred_grid
from vmat_rt.system import threads

CENTRE: Triple = (-41.0, 63.0, 17.0)
RADIUS_MM = 30.0


def grid_of(spacing: Triple = (2.5, 2.0, 3.0), shape: tuple[int, int, int] = (65, 101, 83)) -> Grid:
    return centred_grid(shape, spacing, CENTRE, "1.2.3")


def offsets(grid: Grid) -> tuple[NDArray[np.float64], ...]:
    """Distances (z, y, x) of every voxel from CENTRE, mm, ready to broadcast."""
    z, y, x = (grid.axis_mm(axis) - c for axis, c in enumerate(CENTRE))
    return z[:, None, None], y[None, :, None], x[None, None, :]


def sphere(grid: Grid, radius_mm: float, centre: Triple = (0.0, 0.0, 0.0)) -> NDArray[np.float32]:
    """Smooth-edged ball: area fractions to within a few per cent, centre relative to CENTRE."""
    z, y, x = offsets(grid)
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    return np.clip((radius_mm - distance) / 2.5 + 0.5, 0, 1).astype(np.float32)


def water_box(grid: Grid, half_mm: Triple = (70.0, 80.0, 100.0)) -> NDArray[np.bool_]:
    z, y, x = offsets(grid)
    return (np.abs(z) <= half_mm[0]) & (np.abs(y) <= half_mm[1]) & (np.abs(x) <= half_mm[2])


def maps_of(
    grid: Grid, angles: list[float], target: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float32]]:
    body = water_box(grid)
    target = sphere(grid, RADIUS_MM) if target is None else target
    return compute_beam_maps(Volume(grid, body.astype(np.float32)), body, {"high": target}, angles, CENTRE)


def at(grid: Grid, array: NDArray[np.float32], z: float, y: float, x: float) -> float:
    """Linear interpolation at a place relative to CENTRE."""
    from scipy.ndimage import map_coordinates

    place = grid.index_of(np.array([CENTRE[0] + z, CENTRE[1] + y, CENTRE[2] + x]))
    return float(map_coordinates(array.astype(np.float64), place[:, None], order=1)[0])


@pytest.mark.parametrize(
    ("angle", "toward_source"),
    [(0.0, (0, -1, 0)), (90.0, (0, 0, 1)), (180.0, (0, 1, 0)), (270.0, (0, 0, -1))],
    ids=["from the front", "from the left", "from behind", "from the right"],
)
def test_a_gantry_angle_enters_on_its_side(angle: float, toward_source: Triple) -> None:
    grid = grid_of()
    open_field = maps_of(grid, [angle])["open_field"]
    step = 60.0 * np.array(toward_source)
    assert at(grid, open_field, *step) > 1.3 * at(grid, open_field, *-step)


@pytest.mark.parametrize("y", [-60.0, -20.0, 0.0, 40.0, 70.0])
def test_a_slab_attenuates_exponentially_with_inverse_square(y: float) -> None:
    grid = grid_of()
    open_field = maps_of(grid, [0.0])["open_field"]
    depth = y + 80.0 + 1.0  # the slab's skin lies half a voxel before its first centre
    expected = (SAD_MM / (SAD_MM + y)) ** 2 * np.exp(-ATTENUATION_PER_MM * depth)
    assert at(grid, open_field, 0, y, 0) == pytest.approx(expected, rel=0.006)


def test_an_oblique_ray_runs_through_more_water() -> None:
    """45 degrees: at the centre of the box the depth is the shorter half width times sqrt(2)."""
    grid = grid_of()
    expected = np.exp(-ATTENUATION_PER_MM * 81.0 * np.sqrt(2))
    assert at(grid, maps_of(grid, [45.0])["open_field"], 0, 0, 0) == pytest.approx(expected, rel=0.01)


def test_half_the_density_is_half_the_depth() -> None:
    grid = grid_of()
    body = water_box(grid)
    density = Volume(grid, np.where(body, np.float32(0.5), np.float32(0)))
    maps = compute_beam_maps(density, body, {"high": sphere(grid, RADIUS_MM)}, [0.0], CENTRE)
    assert at(grid, maps["open_field"], 0, 0, 0) == pytest.approx(np.exp(-ATTENUATION_PER_MM * 40.5), rel=0.006)


def test_matter_goes_on_past_the_last_slice_of_the_scan() -> None:
    """A ray that rises out of the scan on its way is no less attenuated than in a longer scan."""
    long, short = grid_of(shape=(65, 101, 83)), grid_of(shape=(33, 101, 83))
    values = []
    for grid in (long, short):
        body = np.broadcast_to(water_box(grid, (1e3, 80.0, 100.0)), grid.shape).copy()
        maps = compute_beam_maps(
            Volume(grid, body.astype(np.float32)), body, {"high": sphere(grid, RADIUS_MM)}, [0.0], CENTRE
        )
        values.append(at(grid, maps["open_field"], 38.0, 70.0, 0.0))
    assert values[1] == pytest.approx(values[0], rel=1e-3)


@pytest.mark.parametrize("axis", ["along x", "along z"])
@pytest.mark.parametrize("y", [-60.0, 0.0, 60.0])
def test_a_sphere_is_seen_as_a_disc_that_diverges(axis: str, y: float) -> None:
    """The edge of the view lies at R SAD / sqrt(SAD^2 - R^2), scaled by the distance to the source."""
    grid = grid_of(spacing=(2.0, 2.0, 2.5), shape=(65, 101, 83))
    in_beam = maps_of(grid, [0.0])["in_beam"]
    edge = RADIUS_MM * SAD_MM / np.sqrt(SAD_MM**2 - RADIUS_MM**2) * (SAD_MM + y) / SAD_MM
    steps = np.arange(edge - 12, edge + 12, 0.25)
    places = [(0.0, y, step) if axis == "along x" else (step, y, 0.0) for step in steps]
    profile = np.array([at(grid, in_beam, *place) for place in places])
    half = np.interp(-0.5, -profile, steps)
    assert half == pytest.approx(edge, abs=1.3)
    assert profile[0] > 0.97
    assert profile[-1] < 0.03


def test_the_chord_through_a_sphere_is_its_diameter_and_its_sum_the_volume() -> None:
    grid = grid_of()
    ball = sphere(grid, RADIUS_MM)
    body = water_box(grid)
    beams = place_beams(Volume(grid, body.astype(np.float32)), body, ball > 0, [25.0, 130.0], CENTRE)
    chords = measure_target_chords(beams.fan, grid, ball)
    volume = ball.sum() * np.prod(grid.spacing_mm)
    assert chords.sum(axis=(1, 2)) * np.prod(beams.fan.view_step_mm) == pytest.approx([volume] * 2, rel=0.01)
    assert chords.max(axis=(1, 2)) == pytest.approx([2 * RADIUS_MM] * 2, rel=0.06)


def test_the_target_is_in_every_view_and_the_rest_in_its_share() -> None:
    grid = grid_of()
    angles = [40.0 * k for k in range(9)]
    in_beam = maps_of(grid, angles)["in_beam"]
    assert in_beam[sphere(grid, RADIUS_MM - 8) >= 0.5].min() > 0.97
    # At 75 mm the disc of radius 30 is met where the angle between ray and offset is below asin(30/75), 23.6 degrees.
    seen = [abs(np.sin(np.deg2rad(a))) < 30 / 75 for a in angles]
    assert at(grid, in_beam, 0, -75, 0) == pytest.approx(np.mean(seen), abs=0.04)


def test_levels_are_seen_apart() -> None:
    grid = grid_of()
    body = water_box(grid)
    left, right = sphere(grid, 15, (0.0, 0.0, 60.0)), sphere(grid, 15, (0.0, 0.0, -60.0))
    density = Volume(grid, body.astype(np.float32))
    maps = compute_beam_maps(density, body, {"high": left, "low": right}, [0.0], CENTRE)
    assert at(grid, maps["beam_high"], 0, 0, 60) > 0.5
    assert at(grid, maps["beam_high"], 0, 0, -60) < 1e-3
    assert at(grid, maps["beam_low"], 0, 0, -60) > 0.5
    np.testing.assert_allclose(maps["beam_any"], maps["beam_high"] + maps["beam_low"], atol=1e-5)


def test_turning_patient_and_gantry_by_a_quarter_turns_the_maps() -> None:
    grid = centred_grid((41, 81, 81), (3.0, 2.5, 2.5), CENTRE, "1.2.3")
    body = water_box(grid, (50.0, 60.0, 90.0))
    target = sphere(grid, 22, (5.0, -20.0, 30.0))

    def maps(body: NDArray[np.bool_], target: NDArray[np.float32], angle: float) -> dict[str, NDArray[np.float32]]:
        density = Volume(grid, body.astype(np.float32))
        return compute_beam_maps(density, body, {"high": target}, [angle], CENTRE)

    def turned(array: NDArray[np.generic]) -> NDArray[np.generic]:
        # 0 -> 90 degrees takes the front (-y) to the left (+x): y' = x, x' = -y.
        return np.ascontiguousarray(np.rot90(array, k=1, axes=(2, 1)))

    before = maps(body, target, 20.0)
    after = maps(turned(body), turned(target), 110.0)  # type: ignore[arg-type]
    for name, array in before.items():
        np.testing.assert_allclose(after[name], turned(array), atol=2e-4, err_msg=name)


def test_a_map_does_not_depend_on_threads_or_on_the_other_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of()
    angles = [0.0, 100.0, 215.0]
    before = maps_of(grid, angles)
    monkeypatch.setattr(threads, "THREADS", 1)
    monkeypatch.setattr(rays, "_BLOCK", 1000)
    for name, array in maps_of(grid, angles).items():
        np.testing.assert_array_equal(array, before[name])


def test_maps_are_zero_outside_the_body_and_finite() -> None:
    grid = grid_of()
    for name, array in maps_of(grid, [10.0, 190.0]).items():
        assert np.isfinite(array).all(), name
        assert (array >= 0).all(), name
        assert not array[~water_box(grid)].any(), name


def test_without_angle_target_or_body_there_are_no_beams() -> None:
    grid = grid_of()
    body, ball = water_box(grid), sphere(grid, RADIUS_MM)
    density = Volume(grid, body.astype(np.float32))
    for angles, inside, target in (([], body, ball), ([0.0], ~body & body, ball), ([0.0], body, 0 * ball)):
        with pytest.raises(GeometryError, match="needs a gantry angle"):
            compute_beam_maps(density, inside, {"high": target}, angles, CENTRE)
    with pytest.raises(GeometryError, match="the source is at 1000 mm"):
        compute_beam_maps(density, body, {"high": ball}, [0.0], (CENTRE[0], CENTRE[1] + 900, CENTRE[2]))


def test_an_arc_is_thinned_evenly_and_repeats_are_dropped() -> None:
    arc = [178.0 - 2 * k for k in range(178)] + [-178.0 + 2 * k for k in range(178)]
    thinned = thin_angles(arc)
    assert len(thinned) == 36
    assert max(np.diff(thinned)) <= 12
    assert thin_angles([0.0, 40.0, 360.0, 40.0, -320.0]) == (0.0, 40.0)


def test_density_and_centroid() -> None:
    grid = Grid((1, 1, 4), (3.0, 2.0, 2.5), (7.0, -4.0, 10.0), "1.2.3")
    ct = Volume(grid, np.array([[[-1000.0, 0.0, 300.0, 3000.0]]], np.float32))
    inside = np.array([[[True, True, False, True]]])
    np.testing.assert_allclose(compute_relative_density(ct, inside).array.ravel(), [0, 1, 0, 1.7])
    assert compute_centroid_mm(Volume(grid, np.array([[[0, 1, 0, 1]]], np.float32))) == pytest.approx((7.0, -4.0, 15.0))


class TestPlannedDose:
    """The quick inverse plan, on a horseshoe target round an organ."""

    ANGLES = tuple(40.0 * k for k in range(9))

    @pytest.fixture(scope="class")
    @classmethod
    def scene(cls) -> tuple[rays.Beams, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        grid = grid_of(spacing=(4.0, 3.0, 3.5), shape=(33, 61, 63))
        z, y, x = offsets(grid)
        distance = np.sqrt(y**2 + x**2)
        slab = (np.abs(z) < 30) & (distance < 70)
        target = slab & (distance < 45) & (distance > 22) & (y < 15)
        organ = slab & (distance < 14)
        body = water_box(grid)
        beams = place_beams(Volume(grid, body.astype(np.float32)), body, target, cls.ANGLES, CENTRE)
        from vmat_rt.geometry.distance import signed_distance_mm

        return beams, target, organ, signed_distance_mm(target.astype(np.float32), grid, 80.0)

    def dose(self, scene: tuple, organ_cost: float, wanted_gy: float = 1.0) -> NDArray[np.float32]:
        beams, target, organ, distance = scene
        importance = np.where(beams.body, np.float32(0.02), np.float32(0))
        importance[organ] = organ_cost
        wanted = np.where(target, np.float32(wanted_gy), np.float32(0))
        return plan_doses(beams, wanted, distance, {"plan": Wish(importance, 5.0)})["plan"]

    def test_it_covers_the_target_and_falls_off(self, scene: tuple) -> None:
        dose = self.dose(scene, 0.02)
        _, target, _, distance = scene
        assert dose[target].mean() == pytest.approx(1.0, abs=0.03)
        assert np.percentile(dose[target], 5) > 0.88
        far = scene[0].body & (distance > 35)
        assert 0 < dose[far].mean() < 0.35

    def test_a_dearer_organ_gets_less(self, scene: tuple) -> None:
        organ = scene[2]
        assert self.dose(scene, 0.5)[organ].mean() < 0.9 * self.dose(scene, 0.02)[organ].mean()

    def test_twice_the_prescription_is_twice_the_dose(self, scene: tuple) -> None:
        np.testing.assert_allclose(self.dose(scene, 0.1, 2.0), 2 * self.dose(scene, 0.1), rtol=1e-4, atol=1e-6)

    def test_plans_made_together_are_those_made_alone(self, scene: tuple) -> None:
        beams, target, organ, distance = scene
        plain = np.where(beams.body, np.float32(0.02), np.float32(0))
        sparing = plain.copy()
        sparing[organ] = 0.5
        wishes = {"sharp": Wish(plain, 4.0), "sparing": Wish(sparing, 6.0), "lax": Wish(np.zeros_like(plain), 6.0)}
        wanted = target.astype(np.float32)
        together = plan_doses(beams, wanted, distance, wishes)
        assert list(together) == list(wishes)
        for name, wish in wishes.items():
            alone = plan_doses(beams, wanted, distance, {name: wish})[name]
            np.testing.assert_array_equal(together[name], alone, err_msg=name)

    def test_spreading_back_is_the_transpose_of_dose(self, scene: tuple) -> None:
        from vmat_rt.geometry import fluence

        beams = scene[0]
        generator = np.random.default_rng(1)
        rays_of_body = fluence._locate(beams, beams.points)
        weights = generator.random((len(self.ANGLES), *beams.fan.view_shape)).astype(np.float32)
        values = generator.random(len(beams.points)).astype(np.float32)
        forward = float(fluence._compute_dose(rays_of_body, weights).astype(np.float64) @ values)
        backward = float((fluence._spread_on_rays(beams.fan, rays_of_body, values).astype(np.float64) * weights).sum())
        assert forward == pytest.approx(backward, rel=1e-5)

    def test_each_step_lowers_the_cost(self, scene: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        from vmat_rt.geometry import fluence

        beams, target, _, distance = scene
        coarse = np.zeros(target.shape, bool)
        coarse[::2, ::2, ::2] = True
        costs = []
        for steps in (1, 3, 10, 30):
            monkeypatch.setattr(fluence, "STEPS", steps)
            dose = self.dose(scene, 0.02)
            healthy = coarse & ~target & beams.body
            far = np.clip(distance[healthy] / fluence.FALL_OFF_MM, 0, 1)
            costs.append(((dose[target] - 1) ** 2).sum() + (8 * 0.02 * far * dose[healthy] ** 2).sum())
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] < 0.7 * costs[0]
