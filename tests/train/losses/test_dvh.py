"""DVH losses against the metrics that they stand for: vmat_rt.metrics, scipy, and the challenge's own definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import Tensor

from tests.train.batches import TABLE, batch_of, fractions
from vmat_rt.metrics.dvh.curve import build_curve
from vmat_rt.metrics.openkbp_score import OpenKbpRegions, score_patient
from vmat_rt.train.batch import Batch
from vmat_rt.train.losses import LossSpec, build_losses
from vmat_rt.train.losses.dvh import Curve, area_between

SHAPE = (10, 12, 14)
MM = (4.0, 3.0, 2.5)


def dvh(predicted: Tensor, batch: Batch, name: str = "dvh", **own: object) -> float:
    losses = build_losses([LossSpec.model_validate({"name": name, **own})], TABLE)
    return float(losses(predicted, batch)[0])


def ramp(low: float, high: float) -> Tensor:
    """Every voxel a dose of its own, evenly from low to high, in a shuffled order."""
    count = int(np.prod(SHAPE))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).double()
    return (low + (high - low) * (order + 0.5) / count).view(1, 1, *SHAPE)


def whole_grid(name: str, dose: Tensor) -> Batch:
    return batch_of(dose, fractions(SHAPE, {name: torch.ones(SHAPE)}), MM)


@pytest.mark.parametrize(("metric", "share"), [("D95%", 0.05), ("D98%", 0.02), ("D50%", 0.5), ("D2%", 0.98)])
@pytest.mark.parametrize("band", [0.0, 0.5, 1.5])
def test_the_loss_is_the_exact_difference_of_a_metric_on_ramps(metric: str, share: float, band: float) -> None:
    """The volume below a dose is linear in it, so that D_x is known, and is the middle of every band around it."""
    case = whole_grid("PTV_7000", ramp(0.9, 1.1))
    found = dvh(ramp(0.8, 1.2), case, targets=[metric], band_percent=band)
    assert found == pytest.approx(abs((0.8 + 0.4 * share) - (0.9 + 0.2 * share)), rel=2e-5)


def test_means_near_maxima_and_areas_on_ramps() -> None:
    case = whole_grid("Rectum", ramp(0.2, 0.6))
    assert dvh(ramp(0.3, 0.9), case, organs=["Dmean"]) == pytest.approx(0.2)
    # Of |0.1 + 0.2 t| over the volume.
    assert dvh(ramp(0.3, 0.9), case, organs=["curve"]) == pytest.approx(0.2)
    # One crosses the other in the middle: of |0.1 - 0.2 t|.
    assert dvh(ramp(0.3, 0.5), case, organs=["curve"]) == pytest.approx(0.05, rel=1e-4)
    share = 1.5 / (np.prod(SHAPE) * np.prod(MM) / 1000)
    assert dvh(ramp(0.2, 1.0), case, organs=["D1.5cc"], band_percent=0) == pytest.approx(0.4 * (1 - share), rel=1e-6)


doses_and_volumes = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=60
)


@given(doses_and_volumes)
@settings(max_examples=60, deadline=None)
def test_the_area_between_curves_is_the_wasserstein_distance(voxels: list[tuple[int, int, int]]) -> None:
    one, other, volumes = (torch.tensor(column, dtype=torch.float64) for column in zip(*voxels, strict=True))
    found = float(area_between(Curve.of(one, volumes), Curve.of(other, volumes)))
    wanted = wasserstein_distance(one.numpy(), other.numpy(), volumes.numpy(), volumes.numpy())
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@given(doses_and_volumes, st.sampled_from(["D95%", "D50%", "D2%", "Dmean", "D0.03cc"]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_metrics_lie_within_a_voxel_of_the_curve_of_the_report(
    voxels: list[tuple[int, int, int]], name: str, random: object
) -> None:
    """Ours is the mean over a volume of one voxel; the report's is linear between the middles of voxels."""
    doses, _, volumes = (np.array(column, np.float32) for column in zip(*voxels, strict=True))
    cc = 0.036
    ends = float(doses.min()), float(doses.max())
    report = build_curve(doses, volumes, float(volumes.sum()) * cc, ends)
    curve = Curve.of(torch.from_numpy(doses), torch.from_numpy(volumes))
    found = float(curve.metric(name, cc, 0.0))
    if name == "Dmean":
        assert found == pytest.approx(report.mean_gy, rel=1e-4, abs=1e-3)
        return
    at = 0.03 if name.endswith("cc") else float(name[1:-1]) / 100 * report.volume_cc
    voxel = float(volumes.max()) * cc
    low, high = report.dose_at_cc(min(at + voxel, report.volume_cc)), report.dose_at_cc(max(at - voxel, 0))
    assert low - 1e-2 <= found <= high + 1e-2


def test_equal_voxels_read_as_in_the_report() -> None:
    doses = np.random.default_rng(2).gamma(4, 0.2, 400).astype(np.float32)
    report = build_curve(doses, np.ones(400, np.float32), 400 * 0.05, (float(doses.min()), float(doses.max())))
    curve = Curve.of(torch.from_numpy(doses), torch.ones(400))
    for name, cc in (("D95%", 0.95 * 20), ("D98%", 0.98 * 20), ("D2%", 0.02 * 20), ("D0.33cc", 0.33)):
        assert float(curve.metric(name, 0.05, 0.0)) == pytest.approx(report.dose_at_cc(cc), rel=1e-5)


def test_structures_are_averaged_over_what_is_measured_of_all() -> None:
    target, organ = torch.zeros(SHAPE), torch.zeros(SHAPE)
    target[:5], organ[5:] = 1, 1
    case = batch_of(torch.full((1, 1, *SHAPE), 0.5), fractions(SHAPE, {"PTV_7000": target, "Rectum": organ}), MM)
    predicted = torch.cat([torch.full((1, 1, 5, 12, 14), 0.6), torch.full((1, 1, 5, 12, 14), 0.2)], dim=2)
    both = dvh(predicted, case, targets=["D95%"], organs=["Dmean", "curve"])
    assert both == pytest.approx((0.1 + 0.3 + 0.3) / 3)
    cut = replace(case, whole=case.whole & (torch.arange(len(TABLE.names)) != TABLE.names.index("Rectum")))
    assert dvh(predicted, cut, targets=["D95%"]) == pytest.approx(0.1)
    nothing = replace(case, whole=torch.zeros_like(case.whole))
    assert dvh(predicted, nothing) == 0


def test_a_voxel_counts_by_how_much_of_it_is_inside() -> None:
    part = torch.zeros(SHAPE)
    part[:4], part[4] = 1.0, 0.25
    case = batch_of(torch.zeros(1, 1, *SHAPE), fractions(SHAPE, {"Bladder": part}), MM)
    predicted = torch.zeros(1, 1, *SHAPE)
    predicted[:, :, 4:] = 1
    assert dvh(predicted, case, organs=["Dmean"]) == pytest.approx(0.25 / 4.25, rel=1e-5)
    assert dvh(predicted, case, organs=["curve"]) == pytest.approx(0.25 / 4.25, rel=1e-5)


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_doses_times_a_number_cost_that_many_times_as_much(scale: float) -> None:
    case = whole_grid("PTV_5600", ramp(0.1, 0.9).square())
    guess = ramp(0.3, 0.7).flip(2)
    wanted = scale * dvh(guess, case)
    assert dvh(scale * guess, replace(case, dose=scale * case.dose)) == pytest.approx(wanted, rel=1e-9)


def test_every_voxel_of_a_structure_is_pulled_and_none_beside_it() -> None:
    """The curve's gradient reaches all voxels; D95's those of the band; neither is flat far from the level."""
    inside = torch.zeros(SHAPE)
    inside[2:8] = 1
    case = batch_of(ramp(0.9, 1.1), fractions(SHAPE, {"PTV_7000": inside}), MM)
    for metrics, least in ((["curve"], inside.sum()), (["D95%"], 0.01 * inside.sum() - 1)):
        predicted = (0.2 * ramp(0.9, 1.1)).requires_grad_()
        losses = build_losses([LossSpec.model_validate({"name": "dvh", "targets": metrics})], TABLE)
        losses(predicted, case)[0].backward()
        assert predicted.grad is not None
        pulled = predicted.grad[0, 0]
        assert int((pulled != 0).sum()) >= int(least)
        assert float(pulled[inside == 0].abs().max()) == 0
        assert float(pulled.sum()) == pytest.approx(-1, rel=1e-5)


def test_the_challenges_score_of_a_case() -> None:
    random = np.random.default_rng(3)
    parts = {name: torch.from_numpy(random.random(SHAPE)) for name in ("PTV_7000", "Rectum", "Bladder")}
    small = torch.zeros(SHAPE, dtype=torch.float64)
    small[0, 0, :2] = 1
    parts["PenileBulb"] = small
    case = batch_of(ramp(0, 1), fractions(SHAPE, {k: v.double() for k, v in parts.items()}), MM)
    guess = ramp(0.1, 1.1).flip(3)
    masks = {name: (part >= 0.5).numpy() for name, part in parts.items()}
    targets = {"PTV_7000": masks.pop("PTV_7000")}
    regions = OpenKbpRegions(np.ones(SHAPE, bool), masks, targets, float(np.prod(MM)))
    score = score_patient(guess[0, 0].numpy(), case.dose[0, 0].numpy(), regions)
    assert dvh(guess, case, "openkbp_dvh") == pytest.approx(np.mean(list(score.dvh_errors_gy.values())), rel=1e-6)


def test_a_structure_without_a_whole_voxel_has_no_score_and_breaks_none() -> None:
    dose = ramp(0, 1)
    case = batch_of(dose, fractions(SHAPE, {"Rectum": torch.full(SHAPE, 0.3, dtype=torch.float64)}), MM)
    predicted = (dose + 0.1).requires_grad_()
    losses = build_losses([LossSpec.model_validate({"name": "openkbp_dvh"})], TABLE)
    value = losses(predicted, case)[0]
    value.backward()
    assert float(value.detach()) == 0
    assert predicted.grad is not None
    assert not predicted.grad.any()
