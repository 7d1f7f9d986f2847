"""Recipe: everything that decides what a run learns, as YAML. Unknown keys are errors and every key is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import ConfigDict, Field, PositiveInt, model_validator

from vmat_rt.baseline.fit import FitSettings
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.bands import MOST_SECTORS
from vmat_rt.nn.channels import band_channels
from vmat_rt.nn.unet import UNetSettings
from vmat_rt.strict import Strict, YamlError, checked, load_mapping, load_yaml, read_text
from vmat_rt.train.augment import AugmentationSettings
from vmat_rt.train.losses import LossSpec
from vmat_rt.train.losses.uncertainty import UncertaintySettings

FILE: Final = "recipe.yaml"
"""The recipe as used, in a run's folder and in its bundle."""

Metric = Literal["mae_gy", "d95_abs_gap_gy", "openkbp_dose_score", "openkbp_dvh_score"]


class _Settings(Strict):
    model_config = ConfigDict(allow_inf_nan=False)


class ChannelSettings(_Settings):
    """Input channels beside CT, body, prescription and distances; see vmat_rt.nn.channels.

    bands: sectors of a group of channels band:K/N, 0 for none: the number of fields, or for arcs as many as shall be
    told apart.
    """

    extra: tuple[str, ...] = ()
    bands: int = Field(default=0, ge=0, le=MOST_SECTORS)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of them."""
        return (*self.extra, *band_channels(self.bands))


class PatchSettings(_Settings):
    """Training on parts of the grid: shape in voxels (z, y, x), patches a case and epoch, and where they lie.

    centred_share of them have their middle where the dose is above above_percent of the highest prescription, as far
    as the grid allows; the others lie anywhere.
    """

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (128, 128, 128)
    per_case: int = Field(default=4, ge=1)
    centred_share: float = Field(default=0.5, ge=0, le=1)
    above_percent: float = Field(default=10.0, ge=0)


class OptimiserSettings(_Settings):
    """AdamW. lr rises linearly over `warmup` steps, then falls along a cosine to lowest_lr at the last step.

    matrix_lr: the same for the weight matrices between the network's ends, which are then stepped by Muon
    (vmat_rt.train.muon); None: AdamW for all. matrix_ends: Muon also steps the convolutions of the input channels and
    the matrices of FiLM, which its authors leave to AdamW. clip: largest norm of the gradient. weight_decay is in units
    of lr, for AdamW and Muon alike, and is not applied to the weights of the losses.
    """

    lr: float = Field(default=1e-4, gt=0)
    matrix_lr: float | None = Field(default=None, gt=0)
    matrix_ends: bool = True
    lowest_lr: float = Field(default=1e-6, ge=0)
    warmup: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _rate_falls(self) -> OptimiserSettings:
        if self.lowest_lr > self.lr:
            raise ValueError(f"lowest_lr is {self.lowest_lr:g}, above lr {self.lr:g}, from which it shall fall")
        return self


class ValidationSettings(_Settings):
    """After every `every` epochs (and the last); stop when `patience` validations in a row bring no better `metric`."""

    every: int = Field(default=1, ge=1)
    metric: Metric = "mae_gy"
    patience: int | None = Field(default=None, ge=1)


class PriorSettings(_Settings):
    """The geometric predictor's dose as an input channel, which the network corrects where `residual`.

    share: part of that dose in the result, whose rest is the network's: the errors of the two differ, and average out.
    detail: of a network on coarser voxels only the difference from that dose is brought back to the grid, so that the
    fine detail of that dose stays, as it always does where the network corrects it.
    folds: training patients get the dose of trees that were fitted without them. beams and importance: as in
    vmat_rt.baseline.scene.FeatureSettings, whose organs are the protocol's.
    """

    kind: Literal["geometric"] = "geometric"
    residual: bool = True
    share: float = Field(default=0.0, ge=0, lt=1)
    detail: bool = False
    folds: int = Field(default=5, ge=2)
    beams: bool = True
    importance: dict[str, float] = Field(default={})
    fit: FitSettings = FitSettings.model_validate({})


class StartSettings(_Settings):
    """The model (a name or a folder) whose weights a run begins with; `vmat-rt train --from` gives it.

    network: "model" takes channels, network, voxels and the prior's part from it; "recipe" checks that the recipe's are
    the same. trees: "keep" shows the network the doses of the model's own trees, "refit" fits the recipe's prior anew.
    """

    model: str | None = None
    network: Literal["model", "recipe"] = "recipe"
    trees: Literal["keep", "refit"] = "refit"


class BundleSettings(_Settings):
    """What the trained bundle is called, and whether its weights are stored in 16 bits."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: str = "1.0.0"
    half: bool = True
    limits: tuple[str, ...] = ()


class Recipe(_Settings):
    """One experiment. coarsen: 1 for the cohort's grid, 2 for whole grids at twice its spacing. batch: cases (or
    patches) a step, over all devices. patch: None for whole grids; crop: of these the box round the body only.
    uncertainty: learn the weights of the losses too. ema: decay of the averaged weights that are validated and kept.
    precision: auto is 16 bits where the device has hardware for them. flip_average: predict each patient and its
    mirror image. checkpoint_steps: also save within an epoch. start: begin with the weights of another model.
    """

    name: str
    title: str
    channels: ChannelSettings = ChannelSettings()
    unet: UNetSettings = UNetSettings()
    coarsen: int = Field(default=1, ge=1, le=4)
    patch: PatchSettings | None = None
    crop: bool = False
    batch: int = Field(default=2, ge=1)
    epochs: int = Field(default=200, ge=1)
    optimiser: OptimiserSettings = OptimiserSettings()
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    losses: tuple[LossSpec, ...] = (LossSpec(name="mse"),)
    uncertainty: UncertaintySettings | None = None
    augmentation: AugmentationSettings = AugmentationSettings()
    ema: float = Field(default=0.999, ge=0, lt=1)
    validation: ValidationSettings = ValidationSettings()
    prior: PriorSettings | None = None
    flip_average: bool = False
    checkpoint_steps: int | None = Field(default=None, ge=1)
    start: StartSettings | None = None
    bundle: BundleSettings

    @model_validator(mode="after")
    def _channels_and_prior_agree(self) -> Recipe:
        if "prior" in self.channels.extra:
            raise ValueError("the channel prior comes from the key prior, not from channels.extra")
        if self.crop and self.patch is not None:
            raise ValueError("crop is for whole grids; patches are parts already")
        if self.unet.residual_channel is not None:
            raise ValueError("unet.residual_channel is set by prior.residual")
        return self

    def begun_from(self, model: str) -> Recipe:
        """The recipe, beginning with the weights of this model."""
        start = (self.start or StartSettings()).model_copy(update={"model": model})
        return self.model_copy(update={"start": start})

    @property
    def per_case(self) -> int:
        """How often an epoch sees a case: once, or in so many patches."""
        return 1 if self.patch is None else self.patch.per_case

    def as_yaml(self) -> str:
        """The whole recipe, defaults included, in the form that load_recipe reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def packaged_recipes() -> Iterator[str]:
    """Names of the recipes that ship with the package, sorted."""
    folder = resources.files("vmat_rt") / "train" / "recipes"
    yield from sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A packaged recipe by name or a YAML file by path, then each override "a.b=value" (value in YAML) on top.

    Raises ConfigError that says what is wrong.
    """
    document = load_mapping(_text(name_or_path), f"recipe {name_or_path}")
    for override in overrides:
        _override(document, override)
    return checked(Recipe, document, f"recipe {name_or_path}", "docs/train.md explains recipes")


def arguments_of(recipe: Recipe) -> tuple[str, ...]:
    """What gives this recipe again: the packaged one of its name and overrides, or the file that lies in its bundle."""
    if recipe.name not in packaged_recipes():
        return (FILE,)
    packaged = load_recipe(recipe.name)
    return (recipe.name, *differences(packaged.model_dump(mode="json"), recipe.model_dump(mode="json")))


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The settings "a.b=value" that turn one document into the other. Settings that only one of them has go whole."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key in after:
            yield from differences(before[key], after[key], f"{path}.{key}" if path else key)
        return
    # In a list, for YAML ends a lone value by a line of dots.
    text = yaml.safe_dump([after], default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    yield f"{path}={text.strip()[1:-1]}"


def _text(name_or_path: str | Path) -> str:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"there is no recipe file {path}")
        return read_text(path, f"the recipe file {path}")
    known = tuple(packaged_recipes())
    if str(name_or_path) not in known:
        raise ConfigError(f"no recipe is called {name_or_path}; there are {', '.join(known)}, or give a .yaml file")
    return (resources.files("vmat_rt") / "train" / "recipes" / f"{name_or_path}.yaml").read_text(encoding="utf-8")


def _override(document: dict[str, Any], override: str) -> None:
    """Set one dotted key. Lists are given whole, in YAML: losses='[{name: l1}]'."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{override!r} is no setting of the form key=value")
    *path, last = dotted.split(".")
    place = document
    for part in path:
        inner = place.get(part)
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted}: {part} has no keys of its own")
        place = inner
    try:
        place[last] = load_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{dotted}: {text!r} is not YAML: {error}") from error
