"""Which plans are accepted, in words, and how a cohort stands against its bounds."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.phantom.plan_cases import GRID, small_case
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError
from vmat_rt.phantom.planning.acceptance import COHORT_BOUNDS, PlanMeasures, list_refusals, measure, tabulate_acceptance

GOOD = PlanMeasures(
    ptv_7000_v70_percent=96.0,
    ptv_7000_d95_gy=70.1,
    ptv_7000_d98_gy=69.5,
    ptv_7000_d003cc_gy=74.0,
    body_d003cc_gy=74.0,
    conformity=1.5,
    ptv_5600_d95_gy=56.5,
    rectum_v50_percent=22.0,
    rectum_v60_percent=13.0,
    rectum_v70_percent=6.0,
    bladder_v50_percent=18.0,
    femur_head_l_max_gy=33.0,
    femur_head_r_max_gy=37.0,
)


class TestRefusals:
    def test_a_good_plan(self) -> None:
        assert list_refusals(GOOD) == ()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"ptv_7000_d95_gy": 66.4}, "PTV_7000 D95 is 66.40 Gy, less than 66.5 Gy."),
            ({"ptv_7000_d003cc_gy": 77.3}, "PTV_7000 D0.03cc is 77.30 Gy, more than 77.0 Gy."),
            ({"ptv_5600_d95_gy": 53.1}, "PTV_5600 outside PTV_7000 D95 is 53.10 Gy, less than 53.2 Gy."),
            ({"body_d003cc_gy": 80.0}, "Hottest 0.03 cc anywhere is 80.00 Gy, more than 77.0 Gy."),
            ({"ptv_7000_v70_percent": 94.0}, "PTV_7000 V70 is 94.00 %, less than 95.0 %."),
        ],
    )
    def test_each_bound_in_words(self, change: dict[str, float], sentence: str) -> None:
        assert list_refusals(dataclasses.replace(GOOD, **change)) == (sentence,)

    def test_all_reasons_at_once(self) -> None:
        bad = dataclasses.replace(GOOD, ptv_7000_d95_gy=60.0, ptv_7000_d003cc_gy=90.0, ptv_5600_d95_gy=40.0)
        assert len(list_refusals(bad)) == 3

    def test_bounds_themselves_are_accepted(self) -> None:
        edge = dataclasses.replace(GOOD, ptv_7000_d95_gy=66.5, ptv_7000_d003cc_gy=77.0, ptv_5600_d95_gy=53.2)
        assert list_refusals(edge) == ()

    def test_a_single_level_plan_needs_no_low_target(self) -> None:
        assert list_refusals(dataclasses.replace(GOOD, ptv_5600_d95_gy=None)) == ()

    def test_no_number_is_no_acceptance(self) -> None:
        assert len(list_refusals(dataclasses.replace(GOOD, ptv_7000_d95_gy=math.nan))) == 1


class TestTable:
    def test_medians_decide_over_the_cohort_and_every_plan_over_plans(self) -> None:
        cohort = [
            GOOD,
            dataclasses.replace(GOOD, rectum_v50_percent=2.0),
            dataclasses.replace(GOOD, rectum_v50_percent=30.0, ptv_7000_d95_gy=66.0, ptv_5600_d95_gy=None),
        ]
        rows = {row.bound.title: row for row in tabulate_acceptance(cohort)}
        rectum = rows["Rectum V50"]
        assert (rectum.scope, rectum.plans, rectum.median, rectum.lowest, rectum.highest) == (
            "median",
            3,
            22.0,
            2.0,
            30.0,
        )
        assert rectum.met
        assert rows["PTV_7000 D95"].scope == "each plan"
        assert not rows["PTV_7000 D95"].met
        assert rows["PTV_5600 outside PTV_7000 D95"].plans == 2
        assert rows["Femoral head maximum"].median == 37.0

    def test_a_median_out_of_range(self) -> None:
        rows = {
            row.bound.title: row for row in tabulate_acceptance([dataclasses.replace(GOOD, rectum_v70_percent=20.0)])
        }
        assert not rows["Rectum V70"].met

    def test_no_plans_no_rows(self) -> None:
        assert tabulate_acceptance([]) == ()

    def test_the_issues_ranges(self) -> None:
        ranges = {bound.title: (bound.low, bound.high) for bound in COHORT_BOUNDS}
        assert ranges == {
            "Rectum V50": (15, 40),
            "Rectum V60": (8, 25),
            "Rectum V70": (3, 15),
            "Bladder V50": (10, 45),
            "Femoral head maximum": (30, 48),
        }


class TestRecord:
    def test_there_and_back(self) -> None:
        numbers: dict[str, object] = {
            f"plan_{name}": value for name, value in dataclasses.asdict(GOOD).items() if value is not None
        }
        assert PlanMeasures.from_numbers({**numbers, "seed": 1, "style_beams": 60}) == GOOD

    def test_a_record_of_something_else(self) -> None:
        with pytest.raises(ConfigError, match="plan_ptv_7000"):
            PlanMeasures.from_numbers({"seed": 1})


def test_measures_of_a_dose_that_rises_evenly_to_the_head() -> None:
    """Closed form: a quarter of a Gy each mm along z, 60 Gy at the lowest slice's centre."""
    case = small_case()
    z = GRID.axis_mm(0).astype(np.float32)
    dose = np.broadcast_to((60 + 0.25 * (z - z[0]))[:, None, None], GRID.shape).copy()
    found = measure(case, Volume(GRID, dose))
    middle = 60 + 0.25 * (0.0 - float(z[0]))
    assert found.penile_bulb_mean_gy is None
    assert found.femur_head_l_max_gy == pytest.approx(middle + 0.25 * (6 + 18), abs=0.5)
    assert found.rectum_v50_percent == pytest.approx(100)
    assert found.ptv_7000_d95_gy < middle < found.ptv_7000_d003cc_gy
    assert found.ptv_7000_d003cc_gy == pytest.approx(middle + 0.25 * 20, abs=0.5)
    body_cc = np.count_nonzero(dose >= 0.95 * 56) * GRID.voxel_cc
    union = np.maximum(case.structures["PTV_7000"].shape.array, case.structures["PTV_5600"].shape.array)  # type: ignore[union-attr]
    assert found.conformity == pytest.approx(body_cc / (union.sum() * GRID.voxel_cc))
