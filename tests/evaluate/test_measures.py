"""The numbers of one case, where the answer is known: a dose moved by so many Gy, everywhere or on one side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.train.cohorts import RULE, patient
from vmat_rt.case import Case, Volume
from vmat_rt.errors import GeometryError, InputError
from vmat_rt.evaluate.measures import METRICS, Measures, measure
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.gamma.index import gamma
from vmat_rt.protocol import load_protocol

PROTOCOL = load_protocol("prostate_sib_70_56")
TARGETS = ("PTV_7000", "PTV_5600")
OTHERS = ("Rectum", "Femur_Head_L", "Femur_Head_R")


@pytest.fixture(scope="module")
def case() -> Case:
    drawn = patient(3)
    return gridded(drawn, model_grid(RULE, drawn))


def reference(case: Case) -> np.ndarray:
    assert case.reference_dose is not None
    return case.reference_dose.array


def measured(case: Case, dose: np.ndarray, *, with_gamma: bool = False, openkbp: bool = False) -> Measures:
    volume = Volume(case.ct.grid, dose.astype(np.float32))
    return measure(case, volume, PROTOCOL, with_gamma=with_gamma, openkbp=openkbp)


def test_the_reference_itself_has_no_error(case: Case) -> None:
    found = measured(case, reference(case), with_gamma=True, openkbp=True).metrics
    for name in ("mae_gy", "mae_target_gy", "mae_outside_gy", "rmse_gy", "bias_gy", "openkbp_dose_score"):
        assert found[name] == 0, name
    assert found["openkbp_dvh_score"] == 0
    assert found["gamma_global_percent"] == found["gamma_target_percent"] == found["goals_agreement_percent"] == 100
    assert all(found[f"{gap}:{name}"] == 0 for gap in ("d95_gap_gy", "homogeneity_gap") for name in TARGETS)
    assert found["goals_met_percent"] == found["goals_met_reference_percent"]


def test_two_gray_more_everywhere(case: Case) -> None:
    found = measured(case, reference(case) + 2, openkbp=True).metrics
    for name in ("mae_gy", "mae_target_gy", "mae_outside_gy", "rmse_gy", "bias_gy"):
        assert found[name] == pytest.approx(2, abs=1e-4), name
    for name in TARGETS:
        assert found[f"d95_gap_gy:{name}"] == found[f"d95_abs_gap_gy:{name}"] == pytest.approx(2, abs=0.02)
    for name in (*TARGETS, *OTHERS):
        assert found[f"mean_gap_gy:{name}"] == pytest.approx(2, abs=0.02)
        assert found[f"near_max_gap_gy:{name}"] == pytest.approx(2, abs=0.02)
    assert found["asymmetry_gap_gy:Femur_Head"] == pytest.approx(0, abs=0.02)
    # The challenge sums over the whole grid and divides by the voxels where dose can be.
    possible = np.count_nonzero(structure_fraction(case.body, case.ct.grid) >= 0.5)
    assert found["openkbp_dose_score"] == pytest.approx(2 * np.prod(case.ct.grid.shape) / possible, rel=1e-5)
    assert found["openkbp_dvh_score"] == pytest.approx(2, abs=1e-4)


def test_less_dose_has_signs(case: Case) -> None:
    found = measured(case, np.maximum(reference(case) - 1, 0)).metrics
    assert found["bias_gy"] == pytest.approx(-1, abs=0.05)
    assert found["d95_gap_gy:PTV_7000"] == pytest.approx(-1, abs=0.02)
    assert found["d95_abs_gap_gy:PTV_7000"] == pytest.approx(1, abs=0.02)


def test_asymmetry_is_left_minus_right(case: Case) -> None:
    """x grows to the patient's left: three gray more there show in the left femur alone."""
    more = 3.0 * (case.ct.grid.axis_mm(2) > case.ct.grid.centre_mm[2])
    found = measured(case, reference(case) + more[None, None])
    assert found.metrics["asymmetry_gap_gy:Femur_Head"] == pytest.approx(3, abs=0.02)
    own = {result.name: result for result in found.structures}
    left, right = (own[f"Femur_Head_{side}"].predicted["Dmean"] for side in "LR")
    assert left is not None
    assert right is not None
    assert found.metrics["asymmetry_gy:Femur_Head"] == pytest.approx(left - right)


def test_target_gamma_is_that_of_the_union_of_targets(case: Case) -> None:
    """Each voxel is counted by its part in the larger of its fractions, as a plain sum says."""
    dose = reference(case) * np.float32(1.03) + 0.5
    found = measured(case, dose, with_gamma=True).metrics
    assert case.reference_dose is not None
    values = gamma(case.reference_dose, Volume(case.ct.grid, dose)).map.array
    union = np.max([structure_fraction(case.structures[name], case.ct.grid) for name in TARGETS], axis=0)
    body = structure_fraction(case.body, case.ct.grid)
    for name, region in (("gamma_target_percent", union), ("gamma_global_percent", body)):
        judged = np.isfinite(values) & (region > 0)
        share = (region * (values <= 1))[judged].sum(dtype=float) / region[judged].sum(dtype=float)
        assert found[name] == pytest.approx(100 * share, rel=1e-6)
        assert 0 < share < 1


def test_goals_agree_where_both_doses_are_on_one_side_of_the_limit(case: Case) -> None:
    found = measured(case, reference(case) * np.float32(0.9))
    judged = [goal for goal in found.goals if goal.agrees is not None]
    assert {True, False} == {goal.agrees for goal in judged}
    for goal in judged:
        sides = []
        for value in (goal.predicted, goal.reference):
            assert value is not None
            assert goal.limit is not None
            sides.append(value < goal.limit if goal.comparison in {"<", "<="} else value > goal.limit)
        assert goal.agrees == (sides[0] == sides[1])
        assert (goal.predicted_status, goal.reference_status) == tuple("met" if side else "missed" for side in sides)
    share = 100 * np.mean([goal.agrees is True for goal in judged])
    assert found.metrics["goals_agreement_percent"] == pytest.approx(share)


def test_a_structure_that_is_not_there_has_no_numbers(case: Case) -> None:
    without = replace(case, structures={n: s for n, s in case.structures.items() if n != "Femur_Head_R"})
    found = measured(without, reference(case))
    assert "Femur_Head_R" not in {result.name for result in found.structures}
    assert not [name for name in found.metrics if name.startswith("asymmetry")]


def test_every_metric_is_defined(case: Case) -> None:
    found = measured(case, reference(case), with_gamma=True, openkbp=True).metrics
    assert {name.partition(":")[0] for name in found} <= set(METRICS)


def test_what_cannot_be_compared_is_refused(case: Case) -> None:
    with pytest.raises(InputError, match="NO_REFERENCE_DOSE"):
        measured(replace(case, reference_dose=None), reference(case))
    with pytest.raises(InputError, match="DOSE_NAN"):
        measured(case, np.full(case.ct.grid.shape, np.nan))
    other = Volume(case.ct.grid.crop((1, 0, 0), case.ct.grid.shape), reference(case)[1:])
    with pytest.raises(GeometryError):
        measure(case, other, PROTOCOL, with_gamma=False, openkbp=False)
