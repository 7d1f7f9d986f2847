"""The DVH loss against true D95, and what it costs: `python -m benchmarks.dvh_loss`. No files are needed.

True D95 is that of vmat_rt.metrics.dvh.compute: contours sampled as finely as it takes, dose between voxel centres.
The losses see what training sees: area fractions on the network's grid, one dose per voxel, relative to 70 Gy.

Soft D95 is what networks are often trained with instead: V(d), the mean of sigmoid((dose - d) / t), solved for
V(d) = 95 %. Soft V70 is the mean of sigmoid((dose - 70 Gy) / t), with t = 1.0 in units of relative dose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vmat_rt.case import ContourPlane, Contours, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.nn.device import sixteen_bit_types
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import Batch, structure_table
from vmat_rt.train.losses import LOSSES, LossSpec, build_losses
from vmat_rt.train.losses.dvh import Curve, area_between
from vmat_rt.train.losses.uncertainty import UncertaintySettings
from vmat_rt.train.objective import Objective

FRAME = "1.2.3"
HIGHEST_GY = 70.0
GRID = Grid((48, 80, 96), (3.0, 2.5, 2.5), (-71.0, -99.0, -119.0), FRAME)
TABLE = structure_table(load_protocol("prostate_sib_70_56"))


def make_ball(name: str, centre: tuple[float, float, float], radius: float) -> Structure:
    turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    planes = []
    for z in np.arange(-math.floor(radius), math.floor(radius) + 1):
        r = math.sqrt(max(radius**2 - z**2, 0.01))
        ring = np.column_stack((centre[1] + r * np.sin(turn), centre[2] + r * np.cos(turn)))
        planes.append(ContourPlane(centre[0] + float(z), (ring,)))
    return Structure(name, name, Contours(tuple(planes), 1.0, FRAME))


def make_dose_gy(margin_mm: float, penumbra_mm: float, centre: tuple[float, float, float], radius: float) -> Volume:
    """72 Gy with ripples; falls off as an error function round the target and margin_mm."""
    axes = [o + s * np.arange(n) for o, s, n in zip(GRID.origin_mm, GRID.spacing_mm, GRID.shape, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    off = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) - radius - margin_mm
    edge = torch.special.ndtr(torch.from_numpy(-off / penumbra_mm)).numpy()
    return Volume(GRID, (72 * edge * (1 + 0.01 * np.sin(x / 7) * np.cos(y / 9))).astype(np.float32))


def compute_soft_d95(doses: Tensor, volumes: Tensor, temperature: float) -> Tensor:
    """The level where the soft volume is 95 %, by bisection, with its derivative by the implicit function."""
    with torch.no_grad():
        low, high = doses.min() - 20 * temperature, doses.max() + 20 * temperature
        for _ in range(60):
            level = (low + high) / 2
            enough = (volumes * torch.sigmoid((doses - level) / temperature)).sum() >= 0.95 * volumes.sum()
            low, high = (level, high) if enough else (low, level)
        slope = torch.sigmoid((doses - low) / temperature)
        pull = volumes * slope * (1 - slope)
    return low + (pull / pull.sum()) @ (doses - doses.detach())


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ours": lambda doses, volumes: Curve.of(doses, volumes).metric("D95%", 0.01875, 0.5),
    "band 0": lambda doses, volumes: Curve.of(doses, volumes).metric("D95%", 0.01875, 0.0),
    "soft t=0.01": lambda doses, volumes: compute_soft_d95(doses, volumes, 0.01),
    "soft t=0.05": lambda doses, volumes: compute_soft_d95(doses, volumes, 0.05),
}


def print_accuracy() -> None:
    print(
        "D95 of a target, minus true D95, Gy; the same of the gap to a dose that is 1 mm tighter, which is what a loss"
    )
    print("sees; and how many voxels share the gradient, (sum g)^2 / sum g^2")
    head = "".join(f"{name:>14}{'gap':>7}{'voxels':>8}" for name in WAYS)
    print(f"{'radius':>7}{'margin':>7}{'penumbra':>9}{'true':>8}{'gap':>7}{head}")
    centre = (-1.3, 2.1, 0.7)
    for radius in (12.0, 25.0, 40.0):
        target = make_ball("PTV_7000", centre, radius)
        for margin, penumbra in ((8.0, 4.0), (4.0, 4.0), (2.0, 6.0)):
            pair = [make_dose_gy(m, penumbra, centre, radius) for m in (margin, margin - 1)]
            print(f"{radius:7.0f}{margin:7.0f}{penumbra:9.0f}{_write_row(target, *pair)}")


def _write_row(target: Structure, dose: Volume, tighter: Volume) -> str:
    true, other = (compute_dvh(target, d, metrics=("D95%",)).value("D95%") for d in (dose, tighter))
    assert true is not None
    assert other is not None
    fraction = torch.from_numpy(structure_fraction(target, GRID)).flatten()
    volumes = fraction[fraction > 0]
    doses, less = (torch.from_numpy(d.array / np.float32(HIGHEST_GY)).flatten()[fraction > 0] for d in (dose, tighter))
    row = f"{true:8.2f}{other - true:7.2f}"
    for way in WAYS.values():
        value = way(doses.requires_grad_(), volumes)
        (pull,) = torch.autograd.grad(value, doses)
        found = HIGHEST_GY * float(value.detach())
        gap = HIGHEST_GY * float(way(less, volumes)) - found
        voxels = float(pull.sum() ** 2 / pull.square().sum())
        row += f"{found - true:14.2f}{gap - (other - true):7.2f}{voxels:8.0f}"
    return row


def print_flatness() -> None:
    """How much V70 and its soft twin change when the whole dose falls from 100 % of the target to none of it."""
    centre, radius = (-1.3, 2.1, 0.7), 25.0
    target, dose = make_ball("PTV_7000", centre, radius), make_dose_gy(8.0, 4.0, centre, radius)
    fraction = torch.from_numpy(structure_fraction(target, GRID)).flatten()
    relative = torch.from_numpy(dose.array / np.float32(HIGHEST_GY)).flatten()[fraction > 0]
    volumes = fraction[fraction > 0] / fraction.sum()
    print("\nA target whose dose is lowered: true V70, soft V70 (t = 1.0 relative) and our area between the DVHs, Gy")
    print(f"{'lower by':>9}{'V70':>8}{'soft V70':>10}{'d soft/dGy':>12}{'area':>8}{'d area/dGy':>12}")
    clinical = Curve.of(relative, volumes)
    for lower_gy in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0):
        shift = torch.tensor(lower_gy / HIGHEST_GY, requires_grad=True)
        doses = relative - shift
        hard = float((volumes * (doses.detach() >= 1)).sum())
        soft = (volumes * torch.sigmoid((doses - 1) / 1.0)).sum()
        (soft_pull,) = torch.autograd.grad(soft, shift, retain_graph=True)
        area = area_between(Curve.of(doses, volumes), clinical)
        (pull,) = torch.autograd.grad(area, shift)
        values = (
            100 * hard,
            100 * float(soft.detach()),
            100 * float(soft_pull) / HIGHEST_GY,
            HIGHEST_GY * float(area.detach()),
            float(pull),
        )
        print(f"{lower_gy:9.1f}{values[0]:7.1f}%{values[1]:9.1f}%{values[2]:11.2f}%{values[3]:8.2f}{values[4]:12.2f}")


def make_training_batch(shape: tuple[int, int, int], mm: tuple[float, float, float], cases: int = 2) -> Batch:
    """Balls of usual volumes for every structure of the protocol, in a body that is an ellipse."""
    place = torch.stack(
        torch.meshgrid(*((torch.arange(n) - n / 2) * m for n, m in zip(shape, mm, strict=True)), indexing="ij")
    )
    radii = {
        "PTV_7000": 26,
        "PTV_5600": 32,
        "PTV_5040": 45,
        "Rectum": 25,
        "Bladder": 33,
        "Bag_Bowel": 40,
        "Prostate": 22,
    }
    random = torch.Generator().manual_seed(0)
    parts = []
    for name in TABLE.names:
        centre = 40 * (2 * torch.rand(3, generator=random) - 1) * (0 if name.startswith("P") else 1)
        off = (place - centre.view(3, 1, 1, 1)).square().sum(0).sqrt()
        parts.append(((radii.get(name, 15) - off) / min(mm) + 0.5).clamp(0, 1))
    structures = torch.stack(parts).mul(255).round().div(255)[None].expand(cases, -1, -1, -1, -1).contiguous()
    body = ((place[1] / 110).square() + (place[2] / 180).square() < 1).float()[None, None].expand(cases, -1, -1, -1, -1)
    dose = torch.rand((cases, 1, *shape), generator=random)
    there = torch.ones(cases, len(TABLE.names), dtype=torch.bool)
    return Batch(
        torch.randn((cases, 14, *shape), generator=random), torch.zeros(cases, 15), dose, body.contiguous(), structures,
        there, there, torch.full((cases,), 70.0), torch.tensor([mm] * cases), ("a",) * cases,
    )  # fmt: skip


def time_best_ms(step: Callable[[], object], times: int) -> float:
    """Of processor time, so that others on the machine count less."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        step()
        taken.append(time.process_time() - start)
    return 1000 * min(taken)


def print_cost() -> None:
    sixteen = bool(sixteen_bit_types(torch.device("cpu")))
    precision = "bf16-mixed" if sixteen else "32-true"
    combined = ("mse", "gradient", "structure_weighted", "asymmetric", "dvh")
    for shape, mm in (((64, 64, 64), (5.0, 5.0, 5.0)), ((48, 80, 96), (6.0, 4.0, 4.0))):
        batch = make_training_batch(shape, mm)
        print(f"\nOne step on {shape}, batch {len(batch)}, one core, processor time; width 16, 4 levels, {precision}")
        guess = batch.dose + 0.1

        def run(names: tuple[str, ...], batch: Batch = batch, guess: Tensor = guess) -> Callable[[], object]:
            losses = build_losses([LossSpec(name=name) for name in names], TABLE)
            return lambda: losses(guess.clone().requires_grad_(), batch)[0].backward()

        network = UNet(UNetSettings(width=16, levels=4, embedding=128), 14, 15)
        objective = Objective(
            network, build_losses([LossSpec(name=n) for n in combined], TABLE, UncertaintySettings(calibrate=1))
        )

        def step(objective: Objective = objective, batch: Batch = batch) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=sixteen):
                total, _ = objective(batch.tensors())
            total.backward()
            objective.zero_grad()

        whole = time_best_ms(step, 2)
        for names in (*((name,) for name in LOSSES), combined):
            ms = time_best_ms(run(names), 4)
            print(f"{'+'.join(names) if len(names) == 1 else 'combined':>20}{ms:9.1f} ms{100 * ms / whole:7.1f} %")
        print(f"{'whole step':>20}{whole:9.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print_accuracy()
    print_flatness()
    print_cost()
