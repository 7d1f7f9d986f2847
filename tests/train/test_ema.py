"""The average of weights in closed form."""

from __future__ import annotations

import pytest
import torch

from vmat_rt.train.ema import Average


def test_the_average_of_weights_in_closed_form() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average, wanted = Average(layer, 0.5), 1.0
    for step in range(12):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    assert float(average.network.weight) == pytest.approx(wanted)
