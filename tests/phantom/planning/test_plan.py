"""Plans of a small pelvis: coverage, repeatability, style, and what becomes of a refused plan.

Covers vmat_rt.phantom.planning.goals and vmat_rt.phantom.planning.style.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from tests.phantom.plan_cases import GRID, plain_style, small_case
from tests.phantom.water import ellipsoid, everywhere
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import ModelError
from vmat_rt.geometry.resample import resample
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.phantom.anatomy.patient import simulate_patient
from vmat_rt.phantom.anatomy.traits import Traits
from vmat_rt.phantom.planning.plan import (
    DOSE_STEP_MM,
    SimulatedPlan,
    normalise,
    plan_in_style,
    plan_patient,
    plan_until_accepted,
)
from vmat_rt.phantom.planning.style import draw_style

SIB = Traits("sib", nodal=False, hip_prosthesis=False, rectal_spacer=False)


@pytest.fixture(scope="module")
def case() -> Case:
    return small_case()


@pytest.fixture(scope="module")
def plan(case: Case) -> SimulatedPlan:
    return plan_in_style(case, plain_style())


def metric(case: Case, plan: SimulatedPlan, name: str, of: str) -> float:
    dose = resample(plan.dose, case.ct.grid, 0.0, "cubic")
    value = compute_dvh(case.structures[name], dose, metrics=[of]).value(of)
    assert value is not None
    return value


class TestPlan:
    def test_reaches_its_goals(self, plan: SimulatedPlan) -> None:
        assert plan.accepted, plan.reasons
        assert plan.reasons == ()
        assert plan.measures.ptv_7000_d95_gy > 69.5
        assert plan.measures.ptv_7000_d003cc_gy < 77
        assert plan.measures.ptv_5600_d95_gy is not None
        assert 54.5 < plan.measures.ptv_5600_d95_gy < 59

    def test_coverage_is_the_styles(self, case: Case, plan: SimulatedPlan) -> None:
        assert metric(case, plan, "PTV_7000", "V70Gy") == pytest.approx(plan.style.coverage_percent, abs=0.3)
        assert plan.measures.ptv_7000_v70_percent == pytest.approx(plan.style.coverage_percent, abs=0.3)

    def test_dose_lies_in_the_body_on_an_isotropic_grid_within_the_ct(self, case: Case, plan: SimulatedPlan) -> None:
        grid = plan.dose.grid
        assert grid.spacing_mm == (DOSE_STEP_MM,) * 3
        assert np.all(np.array(grid.bounds_mm[0]) >= np.array(case.ct.grid.bounds_mm[0]) - 1e-6)
        assert np.all(np.array(grid.bounds_mm[1]) <= np.array(case.ct.grid.bounds_mm[1]) + 1e-6)
        body = resample(case.structures["External"].shape, grid, 0.0).array >= 0.5  # type: ignore[arg-type]
        assert not plan.dose.array[~body].any()
        assert plan.dose.array[body].min() > 0
        assert np.isfinite(plan.dose.array).all()

    def test_dose_falls_with_distance_from_the_targets(self, case: Case, plan: SimulatedPlan) -> None:
        """Means in shells round the isocentre: no cold rim, no streak that beats the targets."""
        shells = [ellipsoid(plan.dose.grid, (4.0, 5.0, -2.0), (r, r, r)).array > 0 for r in (15, 30, 45, 60)]
        means = [float(plan.dose.array[b & ~a].mean()) for a, b in itertools.pairwise(shells)]
        assert 70 < float(plan.dose.array[shells[0]].mean()) < 74
        assert sorted(means, reverse=True) == means

    def test_organs_are_spared(self, case: Case, plan: SimulatedPlan) -> None:
        assert metric(case, plan, "Rectum", "Dmean") < 35
        assert metric(case, plan, "Femur_Head_L", "Dmax") < 40 * 1.1
        assert plan.measures.femur_head_r_max_gy is None

    def test_the_same_again(self, case: Case, plan: SimulatedPlan) -> None:
        again = plan_in_style(case, plain_style())
        np.testing.assert_array_equal(again.dose.array, plan.dose.array)
        assert again.measures == plan.measures

    def test_another_planner_another_dose(self, case: Case, plan: SimulatedPlan) -> None:
        """A planner who protects the rectum more does so."""
        other = plan_in_style(case, plain_style(rectum_weight=20.0, arc_start_deg=20.0))
        assert metric(case, other, "Rectum", "Dmean") < metric(case, plan, "Rectum", "Dmean") - 1
        high = plan.dose.array > 20
        assert np.abs(other.dose.array - plan.dose.array)[high].mean() > 0.5

    def test_single_level(self) -> None:
        plan = plan_in_style(small_case(low_target=False), plain_style())
        assert plan.accepted, plan.reasons
        assert plan.measures.ptv_5600_d95_gy is None


class TestRefusal:
    def test_a_planner_who_neglects_targets_is_asked_again(self, case: Case) -> None:
        """Nearly no weight on targets: their dose is uneven, and coverage lifts the hot spots above 77 Gy."""
        careless = plain_style(target_weight=0.02, hot_spot_weight=0.02)
        first = plan_in_style(case, careless)
        assert not first.accepted
        assert any("more than 77.0 Gy" in reason for reason in first.reasons)
        second = plan_until_accepted(case, careless)
        assert second.style == careless.make_firmer()
        assert second.measures.ptv_7000_d003cc_gy < first.measures.ptv_7000_d003cc_gy

    def test_an_accepted_plan_stands(self, case: Case, plan: SimulatedPlan) -> None:
        assert plan_until_accepted(case, plain_style()).style == plan.style

    def test_no_dose_cannot_be_normalised(self, case: Case) -> None:
        with pytest.raises(ModelError, match="no dose"):
            normalise(case, everywhere(GRID, 0.0), 96.0)


def test_normalisation_in_closed_form() -> None:
    """Dose rises by 1 Gy per slice through a block of 20: 90 % of it get the dose 2 slices above its end, or more."""
    ramp = np.arange(GRID.shape[0], dtype=np.float32)[:, None, None] + np.zeros(GRID.shape, np.float32)
    block = np.zeros(GRID.shape, np.float32)
    block[8:28, 20:30, 30:50] = 1
    case = small_case()
    structures = {**case.structures, "PTV_7000": Structure("PTV_7000", "PTV_7000", Volume(GRID, block))}
    case = dataclasses.replace(case, structures=structures)
    dose, readable = normalise(case, Volume(GRID, ramp), 90.0)
    scale = 70 / (7.5 + 2)
    np.testing.assert_allclose(dose.array, ramp * scale, rtol=2e-3)
    np.testing.assert_array_equal(dose.array, readable.array)


class TestStyle:
    def test_is_its_seeds_and_its_cases(self) -> None:
        assert draw_style(1, "sim-1-0003", SIB) == draw_style(1, "sim-1-0003", SIB)
        assert draw_style(1, "sim-1-0003", SIB) != draw_style(1, "sim-1-0004", SIB)
        assert draw_style(1, "sim-1-0003", SIB) != draw_style(2, "sim-1-0003", SIB)

    def test_varies_over_what_planners_vary(self) -> None:
        styles = [draw_style(1, f"sim-1-{index:04d}", SIB) for index in range(200)]
        assert {style.beams for style in styles} == set(range(48, 73))
        assert 0.1 < np.mean([style.arc_extent_deg < 360 for style in styles]) < 0.3
        for name, low, high in (("coverage_percent", 95, 98), ("rim_mm", 2, 3), ("hot_spot_gy", 71.5, 74)):
            values = [getattr(style, name) for style in styles]
            assert low <= min(values) < max(values) <= high
            assert max(values) - min(values) > 0.5 * (high - low)
        for name in ("rectum_weight", "bladder_weight", "ring_weight", "conformity_weight", "hot_spot_weight"):
            values = np.log([getattr(style, name) for style in styles])
            assert abs(np.mean(values)) < 0.15, "as often firmer as softer than usual"
            assert np.exp(np.std(values)) > 1.3

    def test_full_arc(self) -> None:
        angles = plain_style(beams=60, arc_start_deg=350.0).angles_deg
        assert len(angles) == 60
        np.testing.assert_allclose(np.diff(np.unwrap(angles, period=360)), 6.0)
        assert angles[:3] == (350.0, 356.0, 2.0)
        assert min(angles) >= 0
        assert max(angles) < 360

    def test_partial_arc_reaches_both_ends(self) -> None:
        angles = plain_style(beams=49, arc_start_deg=240.0, arc_extent_deg=240.0).angles_deg
        assert (angles[0], angles[-1]) == (240.0, 120.0)
        np.testing.assert_allclose(np.diff(np.unwrap(angles, period=360)), 5.0)

    @pytest.mark.parametrize(("side", "lateral"), [("L", 90.0), ("R", 270.0)])
    def test_no_beam_enters_through_a_metal_hip(self, side: str, lateral: float) -> None:
        traits = Traits("sib", False, hip_prosthesis=True, rectal_spacer=False, prosthesis_side=side)  # type: ignore[arg-type]
        for index in range(50):
            angles = np.array(draw_style(3, f"sim-3-{index:04d}", traits).angles_deg)
            away = np.abs((angles - lateral + 180) % 360 - 180)
            assert 20 < away.min() < 40

    def test_numbers_only(self) -> None:
        """Every field can stand in a record's provenance."""
        assert all(isinstance(value, int | float) for value in dataclasses.asdict(plain_style()).values())


@pytest.mark.slow
def test_a_simulated_patient() -> None:
    patient = simulate_patient(7, 3)
    plan = plan_patient(patient, 7)
    assert plan.accepted, plan.reasons
    assert plan.style == draw_style(7, patient.case.key, patient.traits)
    assert plan.dose.grid.frame_uid == patient.case.ct.grid.frame_uid
    assert 95 <= plan.measures.ptv_7000_v70_percent <= 98
    assert plan.measures.rectum_v50_percent is not None
    assert 5 < plan.measures.rectum_v50_percent < 45
    assert plan.measures.femur_head_max_gy is not None
    assert 20 < plan.measures.femur_head_max_gy < 50
