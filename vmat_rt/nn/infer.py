"""NetworkPredictor: a network bundle -> dose on a grid, in one pass over the whole grid or patch by patch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vmat_rt.bundle import Bundle
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.grid import Grid
from vmat_rt.nn.coarse import encode_coarsened, refined_gy
from vmat_rt.nn.crop import body_box
from vmat_rt.nn.device import Precision, bounded_threads, choose_device, choose_dtype
from vmat_rt.nn.encode import Channels, Encoded, Mirror, mirror
from vmat_rt.nn.network_bundle import LoadedNetwork, NetworkSettings, unpack_network
from vmat_rt.nn.scene import INSIDE
from vmat_rt.nn.windows import Window, slide
from vmat_rt.predictor import PredictedDose, Predictor

log = logging.getLogger("vmat_rt")

Forward = Callable[[Tensor, Tensor], Tensor]
"""(n, c, z, y, x) and (n, k) -> (n, 1, z, y, x), relative dose."""


class NetworkPredictor:
    """A network on a device, loaded once, with the predictor of the prior dose that it corrects (None: it has none).

    Raises ConfigError for a device or precision that is not there, ModelError for a damaged bundle.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        precision: Precision = "auto",
        threads: int | None = None,
        prior: Predictor | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(self.device, precision)
        self.identity = bundle.identity
        self._threads = threads
        self._prior = prior
        self._loaded: LoadedNetwork = unpack_network(bundle)
        self._loaded.unet.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._plan = Plan.of(self._loaded.settings, self._loaded.channels)

    def predict(self, case: Case, grid: Grid, prior_gy: FloatArray | None = None) -> PredictedDose:
        """Dose on the grid, float32 (z, y, x), Gy in total over all fractions; not negative, zero outside the body.

        prior_gy: the prior's dose on the grid where it is known; else the predictor of the prior is asked for it.
        Raises what `encode` raises; ModelError when a voxel of the output is not finite, ConfigError when the device
        has too little memory.
        """
        if prior_gy is not None and "prior" not in self._loaded.channels.names:
            raise ConfigError(f"the network {self.identity.name} corrects no prior dose")
        if prior_gy is None and self._prior is not None:
            prior_gy = self._prior.predict(case, grid).dose.array
        dose = Volume(grid, self._corrected(case, grid, prior_gy))
        return PredictedDose(dose, None if prior_gy is None else Volume(grid, prior_gy))

    def _corrected(self, case: Case, grid: Grid, prior_gy: FloatArray | None) -> FloatArray:
        started = time.perf_counter()
        settings = self._loaded.settings
        encoded = encode_coarsened(case, grid, self._loaded.channels, settings.coarsen, prior_gy)
        ready = time.perf_counter()
        relative = self._run(encoded)
        log.info(
            "encoded in %.2f s, network in %.2f s on %s", ready - started, time.perf_counter() - ready, self.device
        )
        return finished_gy(relative, encoded, case, grid, settings, prior_gy)

    def _run(self, encoded: Encoded) -> FloatArray:
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        try:
            with bounded_threads(self._threads), torch.inference_mode(), autocast:
                x = torch.from_numpy(encoded.array)[None].to(self.device)
                condition = torch.from_numpy(encoded.condition)[None].to(self.device)
                output = run_network(self._loaded.unet, x, condition, self._plan)
                return np.ascontiguousarray(output[0, 0].float().cpu().numpy())
        except torch.OutOfMemoryError as error:
            shape = " x ".join(str(n) for n in encoded.body.shape)
            raise ConfigError(f"{self.device} has too little memory for {shape} voxels; use --device cpu") from error


@dataclass(frozen=True)
class Crop:
    """Which input channel is the body, and what the sides of its box are multiples of."""

    body_channel: int
    multiple: int


@dataclass(frozen=True)
class Plan:
    """How a network runs on a grid: in windows or (None) at once; averaged with the mirrored patient or (None) not.

    crop: run on the box round the body only; outside it the output is zero.
    """

    window: Window | None = None
    mirror: Mirror | None = None
    crop: Crop | None = None

    @classmethod
    def of(cls, settings: NetworkSettings, channels: Channels) -> Plan:
        """As a network's settings say."""
        crop = Crop(channels.names.index("body"), 2**settings.unet.levels) if settings.crop else None
        return cls(settings.window, mirror(channels) if settings.flip_average else None, crop)


def run_network(network: Forward, x: Tensor, condition: Tensor, plan: Plan) -> Tensor:
    """Relative dose (n, 1, z, y, x) of inputs x (n, c, z, y, x) and condition (n, k), as the plan says."""
    if plan.crop is not None:
        box = (..., *body_box(x[:, plan.crop.body_channel], plan.crop.multiple))
        whole = torch.zeros_like(x[:, :1])
        whole[box] = run_network(network, x[box], condition, replace(plan, crop=None)).to(whole.dtype)
        return whole
    straight = _forward(network, x, condition, plan.window)
    if plan.mirror is None:
        return straight
    flipped = x[:, list(plan.mirror.channels)].flip(-1)
    mirrored = _forward(network, flipped, condition[:, list(plan.mirror.condition)], plan.window)
    return (straight + mirrored.flip(-1)) / 2


def _forward(network: Forward, x: Tensor, condition: Tensor, window: Window | None) -> Tensor:
    def one(part: Tensor) -> Tensor:
        return network(part.contiguous(memory_format=torch.channels_last_3d), condition)

    return one(x) if window is None else slide(one, x, window)


def finished_gy(
    relative: FloatArray,
    encoded: Encoded,
    case: Case,
    grid: Grid,
    settings: NetworkSettings,
    prior_gy: FloatArray | None = None,
) -> FloatArray:
    """Relative dose on the network's voxels -> Gy on `grid`, as `predict` returns it. Raises as dose_gy."""
    if settings.coarsen == 1:
        dose = dose_gy(relative, encoded)
    else:
        _require_finite(relative)
        correcting = settings.unet.residual_channel is not None or settings.prior_detail
        residual_of_gy = prior_gy if correcting else None
        dose = refined_gy(relative, encoded.highest_gy, case, grid, settings.coarsen, residual_of_gy)
    return dose if prior_gy is None else _shared(dose, prior_gy, settings.prior_share)


def _shared(dose: FloatArray, prior_gy: FloatArray, share: float) -> FloatArray:
    """The dose, of which `share` is the prior's; both are zero outside the body."""
    return dose if share == 0 else dose + np.float32(share) * (prior_gy - dose)


def dose_gy(relative: FloatArray, encoded: Encoded) -> FloatArray:
    """Relative dose (z, y, x) -> Gy; zero where less than half a voxel is body. Raises ModelError unless finite."""
    _require_finite(relative)
    dose = np.maximum(relative, 0) * np.float32(encoded.highest_gy)
    dose[encoded.body < INSIDE] = 0
    return dose.astype(np.float32, copy=False)


def _require_finite(relative: FloatArray) -> None:
    wrong = relative.size - int(np.isfinite(relative).sum())
    if wrong:
        raise ModelError(f"the network gave no finite dose in {wrong} of {relative.size} voxels")
