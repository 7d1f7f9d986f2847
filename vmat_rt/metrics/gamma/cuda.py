"""The gamma search with torch, for a GPU: the steps of the numba kernels, one cell of samples at a time for all points.

Any torch device works, so the same code is tested on the CPU. torch is imported when the search is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmat_rt.errors import ConfigError
from vmat_rt.metrics.gamma.samples import SNAP, Floats, Search

if TYPE_CHECKING:
    import torch

_VALUES_AT_ONCE = 1 << 24
"""Interpolated doses held at a time: 64 MiB each for the few arrays of this size."""


@dataclass(frozen=True)
class _State:
    """What a search holds on the device. Points are those within reach: base (n), phase (n, 3), dose, weight, best (n).

    corners (8): flat offsets of a cell's corners, z slowest.
    """

    dose: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    corners: torch.Tensor
    base: torch.Tensor
    phase: torch.Tensor
    point_dose: torch.Tensor
    weight: torch.Tensor
    best: torch.Tensor


def search_with_torch(search: Search, dose_fraction: float, local: bool, max_gamma: float, device: str) -> Floats:
    """Gamma, at most max_gamma, at each of search.points.flat. device: "torch" (the CPU), "cuda" or "cuda:n".

    Raises ConfigError when torch cannot use the device.
    """
    import torch

    name = "cpu" if device == "torch" else device
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"gamma: the device {device!r} was asked for, but torch finds no CUDA device")
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"gamma: torch knows no device {device!r}") from error
    with torch.inference_mode(), _keep_full_precision(torch):
        reachable, state = _upload(search, dose_fraction, local, max_gamma, place)
        _visit_cells(search, state)
        result = np.full(len(search.points.flat), max_gamma, np.float32)
        result[reachable] = state.best.sqrt().cpu().numpy()
    return result


@contextmanager
def _keep_full_precision(torch: Any) -> Iterator[None]:
    """TensorFloat-32 would round doses to three digits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _upload(
    search: Search, dose_fraction: float, local: bool, max_gamma: float, device: torch.device
) -> tuple[NDArray[np.bool_], _State]:
    import torch

    points, field = search.points, search.field
    x, rest = points.flat % points.columns, points.flat // points.columns
    y, z = rest % points.rows, rest // points.rows
    bases = np.stack([points.base_z[z], points.base_y[y], points.base_x[x]])
    reachable = np.asarray((bases >= 0).all(axis=0))
    phases = np.stack([points.phase_z[z], points.phase_y[y], points.phase_x[x]], axis=1)
    dose = points.dose[points.flat][reachable]
    weight = 1 / (dose_fraction * dose) ** 2 if local else np.full_like(dose, 1 / dose_fraction**2)
    corners = [i * field.stride_z + j * field.stride_y + k for i in (0, 1) for j in (0, 1) for k in (0, 1)]

    def send(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    state = _State(
        dose=send(field.dose),
        low=send(field.low),
        high=send(field.high),
        corners=torch.tensor(corners, device=device),
        base=send(bases.sum(axis=0)[reachable]),
        phase=send(phases[reachable]),
        point_dose=send(dose),
        weight=send(weight),
        best=torch.full((len(dose),), max_gamma**2, device=device),
    )
    return reachable, state


def _visit_cells(search: Search, state: _State) -> None:
    """Nearest cell first; a point takes part while the cell's distance and dose range could still lower its best."""
    import torch

    samples = search.samples
    columns = np.stack([samples.u, samples.v, samples.w, samples.distance])
    table = torch.from_numpy(columns).to(state.best.device)
    for cell, offset in enumerate(search.cell_offsets.tolist()):
        near = float(samples.nearest[cell])
        corner = state.base + offset
        gap = torch.maximum(state.low[corner] - state.point_dose, state.point_dose - state.high[corner]).clamp_min_(0)
        active = torch.nonzero(near + gap * gap * state.weight < state.best).squeeze(1)
        if active.numel() == 0:
            if not bool((state.best > near).any()):
                return
            continue
        part = table[:, int(samples.first[cell]) : int(samples.first[cell + 1])]
        for chosen in active.split(max(1, _VALUES_AT_ONCE // part.shape[1])):
            doses = (_sample_in_cell if search.aligned else _sample_near_cell)(state, chosen, corner[chosen], part)
            gap = doses - state.point_dose[chosen, None]
            squared = (gap * gap * state.weight[chosen, None] + part[3]).amin(dim=1)
            state.best[chosen] = torch.minimum(state.best[chosen], squared)


def _sample_in_cell(state: _State, chosen: torch.Tensor, corner: torch.Tensor, part: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    """Doses (points, samples) where every point has the samples at the same places of one cell: a matrix product."""
    import torch

    sides = [torch.stack([1 - along, along]) for along in part[:3]]
    weights = torch.einsum("is,js,ks->ijks", *sides).reshape(8, -1)
    return state.dose[corner[:, None] + state.corners] @ weights


def _sample_near_cell(state: _State, chosen: torch.Tensor, corner: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Doses (points, samples) where each sample lies in this cell or the next along each axis."""
    strides = (int(state.corners[4]), int(state.corners[2]), 1)
    index = corner[:, None]
    places = []
    for axis, stride in enumerate(strides):
        along = state.phase[chosen, axis, None] + part[axis]
        beyond = along >= 1 - SNAP
        index = index + beyond * stride
        places.append((along - beyond.to(along.dtype)).clamp_min_(0))
    u, v, w = places
    dz, dy, dx = strides
    value = state.dose
    e00 = value[index].lerp(value[index + dx], w)
    e01 = value[index + dy].lerp(value[index + dy + dx], w)
    e10 = value[index + dz].lerp(value[index + dz + dx], w)
    e11 = value[index + dz + dy].lerp(value[index + dz + dy + dx], w)
    return e00.lerp(e01, v).lerp(e10.lerp(e11, v), u)
