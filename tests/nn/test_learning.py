"""Gradients flow from a dose to every part: a tiny network learns one case by heart."""

from __future__ import annotations

import numpy as np
import torch

from tests.nn.cases import CENTRE_MM, CHANNELS, make_case
from vmat_rt.grid import Grid
from vmat_rt.nn.encode import encode, mirror
from vmat_rt.nn.unet import UNet, UNetSettings

GRID = Grid((15, 18, 22), (6.0, 5.0, 4.0), (-173.0, -55.0, -21.0), "1.2.3")


def synthetic_dose() -> np.ndarray:
    """Relative dose: 1 in the target, falling off sideways more slowly than along the patient, and a cold femur."""
    z, y, x = (GRID.axis_mm(axis) - CENTRE_MM[axis] for axis in range(3))
    radius = np.sqrt((1.3 * z[:, None, None]) ** 2 + y[:, None] ** 2 + (0.8 * x) ** 2)
    dose = 1 / (1 + np.exp((radius - 24) / 5))
    return (dose * np.where(x > 20, 0.5, 1.0)).astype(np.float32)


def test_a_tiny_network_learns_a_patient_and_its_mirror_image_by_heart() -> None:
    encoded = encode(make_case(), GRID, CHANNELS)
    swap = mirror(CHANNELS)
    one, vector = torch.from_numpy(encoded.array), torch.from_numpy(encoded.condition)
    x = torch.stack((one, one[list(swap.channels)].flip(-1)))
    condition = torch.stack((vector, vector[list(swap.condition)]))
    dose = torch.from_numpy(synthetic_dose())
    wanted = torch.stack((dose, dose.flip(-1)))[:, None]
    torch.manual_seed(0)
    network = UNet(UNetSettings(width=8, levels=2, embedding=16), len(CHANNELS.names), CHANNELS.condition_size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        (network(x, condition) - wanted).square().mean().backward()
        optimiser.step()
    with torch.inference_mode():
        error = (network.eval()(x, condition) - wanted).abs().mean().item()
    constant = (wanted - wanted.median()).abs().mean().item()
    assert error < 0.25 * constant
