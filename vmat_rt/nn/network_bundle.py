"""A network as a bundle: weights in safetensors, everything else in the manifest. Loading never executes a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from torch import Tensor

from vmat_rt.bundle import Bundle, Manifest, write_bundle
from vmat_rt.errors import ModelError
from vmat_rt.nn.encode import Channels
from vmat_rt.nn.scene import Normalisation
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.nn.windows import Window
from vmat_rt.strict import Strict, reason

WEIGHTS: Final = "weights.safetensors"


class NetworkSettings(Strict):
    """The `settings` of a network's manifest; its `inputs` are the channel names.

    targets, normalisation, angles_deg: as in Channels. coarsen: voxels of the grid a side of a network's voxel.
    window: how a grid is cut, None for the whole grid at once. flip_average: average with the prediction of the
    mirrored patient. crop: the network sees the box round the body only. prior: the bundle whose dose is the channel
    "prior": a folder within this bundle, or the name of an installed one. prior_share: its part in the result.
    prior_detail: only the difference from it is brought back from coarser voxels, so that its fine detail stays.
    """

    unet: UNetSettings
    targets: tuple[str, ...]
    normalisation: Normalisation = Normalisation()
    angles_deg: tuple[float, ...] = ()
    coarsen: int = Field(default=1, ge=1)
    window: Window | None = None
    flip_average: bool = False
    crop: bool = False
    prior: str | None = None
    prior_share: float = Field(default=0.0, ge=0, lt=1)
    prior_detail: bool = False

    @model_validator(mode="after")
    def _share_of_a_prior(self) -> NetworkSettings:
        if (self.prior_share or self.prior_detail) and self.prior is None:
            raise ValueError("prior_share and prior_detail are for networks with a prior")
        return self


@dataclass(frozen=True)
class LoadedNetwork:
    """What a bundle holds, ready to run: the network on the CPU in evaluation mode, its inputs and its settings."""

    unet: UNet
    channels: Channels
    settings: NetworkSettings


def pack_network(
    folder: Path, manifest: Manifest, network: UNet, half: bool = False, beside: Mapping[str, bytes] | None = None
) -> Bundle:
    """Write a bundle of `network`; manifest.inputs and manifest.settings must describe it.

    half stores 16-bit weights. beside: more files of the bundle by name, such as its prior's. Raises ModelError when
    the manifest does not fit the network, or a weight is not finite (in 16 bits: beyond 65504).
    """
    loaded = _built(manifest)
    weights = {name: _stored(tensor, half) for name, tensor in network.state_dict().items()}
    _check(weights, loaded.unet.state_dict(), manifest.name)
    return write_bundle(folder, manifest, {WEIGHTS: safetensors.torch.save(weights), **(beside or {})})


def unpack_network(bundle: Bundle) -> LoadedNetwork:
    """Read a network bundle. Raises ModelError when a file is damaged, is no safetensors, or fits not the settings."""
    content = bundle.read_bytes(WEIGHTS)
    loaded = _built(bundle.manifest)
    name = bundle.manifest.name
    try:
        weights = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"bundle {name}: {WEIGHTS} is not a safetensors file ({error})") from error
    _check(weights, loaded.unet.state_dict(), name)
    loaded.unet.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
    loaded.unet.eval().requires_grad_(False)
    return loaded


def _built(manifest: Manifest) -> LoadedNetwork:
    """The network that the manifest describes, with initial weights."""
    if manifest.kind != "network":
        raise ModelError(f"bundle {manifest.name} is a {manifest.kind} predictor, not a network")
    try:
        settings = NetworkSettings.model_validate(manifest.settings)
    except ValidationError as error:
        raise ModelError(f"bundle {manifest.name}: settings: {reason(error)}") from error
    if settings.prior is None and "prior" in manifest.inputs:
        raise ModelError(
            f"bundle {manifest.name} has the channel prior, but settings.prior does not say whose dose it is"
        )
    channels = Channels(
        names=manifest.inputs,
        targets=settings.targets,
        normalisation=settings.normalisation,
        angles_deg=settings.angles_deg,
    )
    return LoadedNetwork(UNet(settings.unet, len(channels.names), channels.condition_size), channels, settings)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    return tensor.detach().cpu().to(torch.float16 if half else torch.float32).contiguous()


def _check(weights: dict[str, Tensor], expected: dict[str, Tensor], name: str) -> None:
    """Raise ModelError unless the weights have the names, shapes and finite values that the network needs."""
    missing, surplus = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or surplus:
        raise ModelError(
            f"bundle {name}: the weights do not belong to this network: "
            f"{len(missing)} are missing ({', '.join(missing[:3])}), {len(surplus)} too many ({', '.join(surplus[:3])})"
        )
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise ModelError(
                f"bundle {name}: {key} has shape {tuple(tensor.shape)}, the network needs {tuple(expected[key].shape)}"
            )
        if not torch.is_floating_point(tensor) or not torch.isfinite(tensor).all():
            raise ModelError(f"bundle {name}: {key} holds values that are not finite numbers")
