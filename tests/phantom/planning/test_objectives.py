"""Penalties and fluence: derivatives against differences, the optimum against an independent solver.

Covers vmat_rt.phantom.planning.fluence and vmat_rt.phantom.planning.points.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from tests.phantom.plan_cases import small_case
from tests.phantom.water import SLAB, ellipsoid, everywhere
from vmat_rt.errors import GeometryError
from vmat_rt.geometry.rays import list_voxel_points
from vmat_rt.grid import Grid
from vmat_rt.phantom.delivery.engine import DoseEngine, EngineSettings
from vmat_rt.phantom.delivery.machine import load_machine
from vmat_rt.phantom.planning.fluence import FluenceTask, compute_cost_and_gradient, make_neighbour_steps, optimise
from vmat_rt.phantom.planning.objectives import Objectives, Penalty, make_penalty
from vmat_rt.phantom.planning.points import FINE_ORGANS, NEAR_MM, STEP_MM, choose_plan_points, fit_lattice

RANDOM = np.random.default_rng(5)
TARGET = Grid((9, 7, 11), (5.0, 4.5, 5.5), (-20.0, -6.0, -30.0), SLAB.frame_uid)


def small_engine(angles: tuple[float, ...] = (10.0, 130.0, 250.0)) -> DoseEngine:
    target = ellipsoid(TARGET, (0.0, 7.0, -3.0), (15.0, 12.0, 20.0))
    return DoseEngine(load_machine(), everywhere(SLAB), target, (0.0, 7.0, -3.0), angles, EngineSettings(10, 4))


class TestPenalties:
    def test_closed_form(self) -> None:
        """Shares 1, 3 and 4 of a structure at 62, 60 and 55 Gy under a limit of 60 and a floor of 58."""
        members = np.array([1.0, 0.0, 3.0, 4.0])
        dose = np.array([62.0, 99.0, 60.0, 55.0])
        above, below = make_penalty("a", "above", members, 60.0, 10.0), make_penalty("b", "below", members, 58.0, 2.0)
        assert Objectives((above,)).cost_and_gradient(dose)[0] == pytest.approx(10 * (1 / 8) * 2**2)
        cost, slope = Objectives((above, below)).cost_and_gradient(dose)
        assert cost == pytest.approx(5 + 2 * (4 / 8) * 3**2)
        np.testing.assert_allclose(slope, [2 * 10 / 8 * 2, 0, 0, -2 * 2 * 4 / 8 * 3])
        assert Objectives((above, below)).costs(dose) == pytest.approx({"a": 5.0, "b": 9.0})

    def test_gradient_against_differences(self) -> None:
        dose = RANDOM.uniform(20, 75, 40)
        limits = RANDOM.uniform(30, 70, 40)
        wishes = Objectives(
            (
                make_penalty("organ", "above", RANDOM.uniform(0, 1, 40), limits, 3.0),
                make_penalty("target", "below", (RANDOM.uniform(0, 1, 40) > 0.5).astype(float), 70.0, 8.0),
                make_penalty("all", "above", np.ones(40), 0.0, 0.1),
            )
        )
        _, slope = wishes.cost_and_gradient(dose)
        for point in range(40):
            step = np.zeros(40)
            step[point] = 1e-5
            high, low = (wishes.cost_and_gradient(dose + sign * step)[0] for sign in (1, -1))
            assert slope[point] == pytest.approx((high - low) / 2e-5, rel=1e-5, abs=1e-7)

    def test_a_structure_of_no_volume_costs_nothing(self) -> None:
        cost, slope = Objectives((make_penalty("empty", "above", np.zeros(3), 10.0, 5.0),)).cost_and_gradient(
            np.ones(3) * 50
        )
        assert cost == 0
        assert not slope.any()

    def test_lists_of_different_lengths_are_refused(self) -> None:
        with pytest.raises(GeometryError, match="rectum"):
            Penalty("rectum", "above", np.arange(3), np.ones(2), np.ones(3))


class TestFluence:
    def test_gradient_against_differences(self) -> None:
        """The cost is quadratic between kinks, so wide differences are exact but for single precision."""
        engine = small_engine()
        task = wanted(engine, smoothness=40.0)
        weights = RANDOM.uniform(0.5, 1.5, engine.bixels)
        _, gradient = compute_cost_and_gradient(task, weights, 1.0)
        for _ in range(5):
            direction = RANDOM.normal(size=engine.bixels)
            high, low = (compute_cost_and_gradient(task, weights + sign * 0.02 * direction, 1.0)[0] for sign in (1, -1))
            assert gradient @ direction == pytest.approx(
                (high - low) / 0.04, rel=2e-3, abs=1e-3 * np.abs(gradient).sum()
            )

    def test_the_optimum_of_an_independent_solver(self) -> None:
        """Both sides of one limit make least squares with weights of 0 or more, which NNLS solves exactly."""
        engine = small_engine()
        task = wanted(engine, smoothness=5.0)
        matrix = np.stack([task.influence.forward(row) for row in np.eye(engine.bixels)], axis=1).astype(np.float64)
        above = task.objectives.penalties[0]
        rows = np.sqrt(above.weight)[:, None] * matrix
        smooth = np.sqrt(task.smoothness / engine.bixels) * task.steps.toarray()
        values = np.concatenate([np.sqrt(above.weight) * above.limit_gy, np.zeros(len(smooth))])
        exact, residual = nnls(np.concatenate([rows, smooth]), values)
        found = optimise(task, np.ones(engine.bixels), 300)
        assert found.start_cost > 10 * residual**2
        assert residual**2 * (1 - 1e-3) <= found.cost <= residual**2 * 1.01
        assert found.weights.min() >= 0
        assert (exact == 0).any(), "the bound must matter here"

    def test_steps_join_neighbours_of_one_field_and_of_successive_angles(self) -> None:
        engine = small_engine((0.0, 90.0, 180.0, 270.0))
        flat = make_neighbour_steps(engine, full_turn=True) @ np.ones(engine.bixels)
        assert not flat.any(), "a fluence that is the same everywhere has no steps"
        one_beam = np.zeros(engine.bixels)
        one_beam[engine.bixel_map(1)[2]] = 1.0
        within = make_neighbour_steps(engine, full_turn=True, turning=0.0) @ one_beam
        assert not within.any(), "within a field nothing changes"
        last = np.zeros(engine.bixels)
        last[engine.bixel_map(3)[2]] = 1.0
        closed, opened = (np.count_nonzero(make_neighbour_steps(engine, turn) @ last) for turn in (True, False))
        assert closed > opened > 0, "a full turn joins the last angle to the first, too"

    def test_turning_counts_by_its_square_root(self) -> None:
        engine = small_engine((0.0, 90.0))
        first = np.zeros(engine.bixels)
        first[engine.bixel_map(0)[2]] = 1.0
        one, four = (make_neighbour_steps(engine, False, turning) @ first for turning in (1.0, 4.0))
        assert four @ four == pytest.approx(4 * (one @ one))


def wanted(engine: DoseEngine, smoothness: float) -> FluenceTask:
    """20 Gy in the target, from both sides; nothing more."""
    points = list_voxel_points(TARGET, ellipsoid(TARGET, (0.0, 7.0, -3.0), (15.0, 12.0, 20.0)).array > 0)
    influence = engine.influence(points)
    level = float(influence.forward(np.ones(engine.bixels)).mean())
    limit = level * np.where(points[:, 2] > 0, 1.4, 0.4)
    members = np.ones(len(points))
    both = (make_penalty("hot", "above", members, limit, 1e3), make_penalty("cold", "below", members, limit, 1e3))
    return FluenceTask(influence, Objectives(both), make_neighbour_steps(engine, False), smoothness)


class TestPoints:
    def test_each_stands_for_its_volume(self) -> None:
        case = small_case()
        points = choose_plan_points(case)
        body_cc = float(case.structures["External"].shape.array.sum()) * case.ct.grid.voxel_cc  # type: ignore[union-attr]
        assert points.volume_cc.sum() == pytest.approx(body_cc, rel=0.1)
        for name in ("PTV_7000", "PTV_5600", "Rectum"):
            whole = float(case.structures[name].shape.array.sum()) * case.ct.grid.voxel_cc  # type: ignore[union-attr]
            assert float(points.fraction[name] @ points.volume_cc) == pytest.approx(whole, rel=0.02)

    def test_all_of_the_lattice_near_targets_and_in_fine_organs(self) -> None:
        case = small_case()
        points = choose_plan_points(case)
        nearest = np.minimum.reduce(list(points.distance_mm.values()))
        fine = points.volume_cc < 1.01 * (STEP_MM / 10) ** 3
        assert fine[nearest < NEAR_MM].all()
        assert fine[points.fraction[FINE_ORGANS[0]] > 0].all()
        assert not fine[(nearest > NEAR_MM) & (points.fraction[FINE_ORGANS[0]] == 0)].any()

    def test_distance_from_an_ellipsoid_along_its_axis(self) -> None:
        """Within half a voxel of the CT, where the ends of the axis are nearest."""
        points = choose_plan_points(small_case())
        reach = np.abs(points.points_mm[:, 0]) - 20.0
        along = (np.abs(points.points_mm[:, 1:] - (4.0, -2.0)).max(axis=1) < 2.5) & (reach > -8)
        assert along.sum() > 5
        np.testing.assert_allclose(points.distance_mm["PTV_7000"][along], reach[along], atol=1.6)

    def test_a_lattice_stays_within_its_grid(self) -> None:
        grid = Grid((7, 11, 13), (3.0, 1.7, 2.1), (5.0, -3.0, 40.0), "f")
        lattice = fit_lattice(grid, 4.25)
        (low, high), (first, last) = lattice.bounds_mm, grid.bounds_mm
        assert np.all(np.array(low) >= np.array(first) - 1e-6)
        assert np.all(np.array(high) <= np.array(last) + 1e-6)
        assert lattice.shape == (4, 4, 6)
        np.testing.assert_allclose(lattice.centre_mm, grid.centre_mm)

    def test_no_target_no_points(self) -> None:
        case = small_case()
        bare = type(case)(**{**vars(case), "structures": {"External": case.structures["External"]}})
        with pytest.raises(GeometryError, match="target"):
            choose_plan_points(bare)
