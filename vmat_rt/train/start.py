"""Starting from a model that others trained: what a run takes from its bundle, and what must fit.

The network, its channels, its voxels and its normalisation are the model's: weights mean nothing beside others. What is
left to the recipe is how it goes on: rates, epochs, losses, augmentation, and whether the model's trees are kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from vmat_rt.baseline.scene import FeatureSettings
from vmat_rt.bundle import TRAINING_CASES, Bundle, find_bundle, find_prior_bundle, was_trained_on
from vmat_rt.case import ModelIdentity
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.nn.encode import Channels, channels_for
from vmat_rt.nn.network_bundle import LoadedNetwork, NetworkSettings, unpack_network
from vmat_rt.protocol import load_protocol
from vmat_rt.train.recipe import ChannelSettings, PatchSettings, PriorSettings, Recipe

_LOG = logging.getLogger("vmat_rt")

_OF_THE_MODEL = ("channels", "unet", "coarsen", "patch", "crop", "flip_average")
_SPACING_SHARE = 0.1


@dataclass(frozen=True)
class Start:
    """A model that a run begins with, read once."""

    bundle: Bundle
    loaded: LoadedNetwork

    @property
    def identity(self) -> ModelIdentity:
        return self.bundle.identity

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return self.loaded.unet.state_dict()

    @property
    def cases(self) -> dict[str, str]:
        """Its training cases: key -> SHA-256 of the image; empty where its maker did not write them down."""
        if TRAINING_CASES not in self.bundle.manifest.files:
            return {}
        found: dict[str, str] = json.loads(self.bundle.read_bytes(TRAINING_CASES))
        return found


def read_start(recipe: Recipe, cohort: Cohort) -> Start | None:
    """The model that a recipe goes on from, checked against the cohort; None for a recipe that begins with nothing.

    Raises ConfigError when a recipe that goes on is given no model, or one without weights or for other cases.
    """
    if recipe.start is None:
        return None
    if recipe.start.model is None:
        raise ConfigError(
            f"recipe {recipe.name} goes on from a model: give --from MODEL (`vmat-rt models` lists what is installed)"
        )
    bundle = find_bundle(cohort.settings.protocol, recipe.start.model)
    _require_fit(bundle, cohort)
    return Start(bundle, unpack_network(bundle))


def _require_fit(bundle: Bundle, cohort: Cohort) -> None:
    manifest = bundle.manifest
    if manifest.kind != "network":
        raise ConfigError(
            f"{manifest.name} is a {manifest.kind} model, which has no weights to go on from; give a network "
            "(`vmat-rt models` tells them apart)"
        )
    protocol = cohort.settings.protocol
    if protocol not in manifest.protocols:
        raise ConfigError(
            f"{manifest.name} predicts for {', '.join(manifest.protocols)}, the cohort is of {protocol}; give a model "
            "of that protocol, or train without --from"
        )
    grid, own = manifest.grid, cohort.settings.grid
    pairs = zip(grid.spacing_mm, own.spacing_mm, strict=True)
    if grid.kind != own.kind or any(abs(a / b - 1) > _SPACING_SHARE for a, b in pairs):
        raise ConfigError(
            f"{manifest.name} computes on a grid of {_described(grid.spacing_mm)} ({grid.kind}), the cohort's is of "
            f"{_described(own.spacing_mm)} ({own.kind}); make the cohort anew with the model's grid"
        )


def going_on(recipe: Recipe, start: Start, cohort: Cohort) -> Recipe:
    """The recipe with what comes from the model, in full; a recipe that says its own network stays as it is.

    Raises ConfigError when it sets what comes from the model, or the model has channels that cannot be asked for of
    this protocol.
    """
    assert recipe.start is not None
    if recipe.start.network == "recipe":
        return recipe
    fixed = [name for name in _OF_THE_MODEL if getattr(recipe, name) != Recipe.model_fields[name].default]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)} of recipe {recipe.name}: that comes from the model {start.identity.name}; "
            "take it out, or set start.network=recipe to say all of the network there"
        )
    settings = start.loaded.settings
    unet = settings.unet.model_copy(update={"residual_channel": None})
    patch = None if settings.window is None else PatchSettings(shape=settings.window.patch)
    taken = {
        "channels": ChannelSettings(extra=_extra(start, cohort)),
        "unet": unet,
        "coarsen": settings.coarsen,
        "patch": patch,
        "crop": settings.crop,
        "flip_average": settings.flip_average,
        "prior": _prior(recipe.prior, start),
        "start": recipe.start.model_copy(update={"network": "recipe"}),
    }
    return recipe.model_copy(update=taken)


def require_same(channels: Channels, network: NetworkSettings, start: Start) -> None:
    """Raises ConfigError unless a run's channels and network are those of the model that it begins with."""
    name = start.identity.name
    own, theirs = channels.model_dump(mode="json"), start.loaded.channels.model_dump(mode="json")
    if channels.names != start.loaded.channels.names:
        lacking = [n for n in start.loaded.channels.names if n not in channels.names]
        surplus = [n for n in channels.names if n not in start.loaded.channels.names]
        differs = (
            f"without {', '.join(lacking) or 'none'}, with {', '.join(surplus) or 'none'} besides, or in another order"
        )
        raise ConfigError(f"the recipe's channels are not those of {name} ({differs}); {_REMEDY}")
    other = [key for key in own if own[key] != theirs[key]]
    given, kept = network.model_dump(mode="json"), start.loaded.settings.model_dump(mode="json")
    other += [key for key in ("unet", "coarsen", "crop", "window") if given[key] != kept[key]]
    if other:
        raise ConfigError(f"the recipe's {', '.join(other)} is not that of {name}; {_REMEDY}")


_REMEDY = "go on with recipe adapt or adapt_cpu, which take all of that from the model"


def seen_by(start: Start, cohort: Cohort, keys: Sequence[str]) -> list[str]:
    """Those of a cohort's cases that the model was trained on, as far as it lists them."""
    listed = start.cases
    return [key for key in keys if was_trained_on(listed, key, cohort.record(key).image_sha256)]


def _extra(start: Start, cohort: Cohort) -> tuple[str, ...]:
    """The model's channels beside the standard ones of the protocol and the prior."""
    standard = channels_for(load_protocol(cohort.settings.protocol)).names
    names = tuple(name for name in start.loaded.channels.names if name != "prior")
    if names[: len(standard)] != standard:
        raise ConfigError(
            f"{start.identity.name} was trained on other structures than protocol {cohort.settings.protocol} has; "
            "train without --from"
        )
    return names[len(standard) :]


def _prior(asked: PriorSettings | None, start: Start) -> PriorSettings | None:
    """The recipe's prior, or the usual one, with the features and the part in the result that it has in the model."""
    inner = find_prior_bundle(start.bundle)
    if inner is None:
        return None
    features = FeatureSettings.model_validate(inner.manifest.settings["features"])
    settings = start.loaded.settings
    taken = {
        "residual": settings.unet.residual_channel is not None,
        "share": settings.prior_share,
        "detail": settings.prior_detail,
        "beams": features.beams,
        "importance": features.importance,
    }
    return (asked or PriorSettings()).model_copy(update=taken)


def _described(spacing_mm: Sequence[float]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing_mm) + " mm"
