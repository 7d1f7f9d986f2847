"""Weighted means over cases, and unions of structures by role, by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tests.train.batches import TABLE, batch_of, fractions
from vmat_rt.train.losses.term import NoSettings, union, weighted_mean


def test_each_case_counts_alike_whatever_its_weight() -> None:
    values = torch.tensor([[1.0, 3.0], [10.0, 20.0]]).view(2, 1, 1, 1, 2)
    weights = torch.tensor([[1.0, 1.0], [30.0, 10.0]]).view(2, 1, 1, 1, 2)
    assert float(weighted_mean(values, weights)) == pytest.approx((2.0 + 12.5) / 2)


def test_less_than_a_voxel_in_all_counts_as_little() -> None:
    values = torch.full((1, 1, 1, 1, 4), 8.0)
    assert float(weighted_mean(values, torch.zeros_like(values))) == 0
    assert float(weighted_mean(values, torch.full_like(values, 0.125))) == pytest.approx(4.0)


def test_a_union_is_the_largest_fraction_of_its_role() -> None:
    shape = (1, 1, 4)
    parts = {
        "PTV_7000": torch.tensor([[[1.0, 0.25, 0.0, 0.0]]]),
        "PTV_5600": torch.tensor([[[0.5, 0.75, 0.5, 0.0]]]),
        "Rectum": torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]),
    }
    case = batch_of(torch.ones(1, 1, *shape), fractions(shape, parts), (1.0, 1.0, 1.0))
    assert union(case, TABLE, "target").flatten().tolist() == [1.0, 0.75, 0.5, 0.0]
    assert union(case, TABLE, "oar").flatten().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_loss_without_settings_takes_none() -> None:
    with pytest.raises(ValidationError):
        NoSettings.model_validate({"power": 2})
