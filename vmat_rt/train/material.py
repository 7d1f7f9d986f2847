"""Material: what a recipe makes of a cohort before the first step: who is in which split, inputs, priors, examples."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vmat_rt.bundle import find_prior_bundle
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.nn.channels import require_known
from vmat_rt.nn.encode import Channels, channels_for, require_turned_onto_itself
from vmat_rt.nn.infer import Plan
from vmat_rt.nn.network_bundle import NetworkSettings
from vmat_rt.nn.unet import UNetSettings
from vmat_rt.nn.windows import Window
from vmat_rt.protocol import load_protocol
from vmat_rt.strict import checked
from vmat_rt.train.augment import Augmentation
from vmat_rt.train.batch import StructureTable, structure_table
from vmat_rt.train.examples import Examples, ExampleSettings
from vmat_rt.train.feed import steps_an_epoch
from vmat_rt.train.losses import build_losses
from vmat_rt.train.prior import PRIOR_FOLDER, PriorDoses, kept_doses, prior_doses
from vmat_rt.train.recipe import Recipe
from vmat_rt.train.start import Start, going_on, read_start, require_same, seen_by

_LOG = logging.getLogger("vmat_rt")


@dataclass(frozen=True)
class Material:
    """Everything that is fixed before training starts. cohort_sha256 covers the content of every case that is used.

    recipe: with what comes from the model that the run begins with (start), where it begins with one.
    """

    recipe: Recipe
    seed: int
    cohort: Cohort
    cohort_sha256: str
    split_sha256: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    channels: Channels
    table: StructureTable
    network: NetworkSettings
    examples: Examples
    prior_files: Mapping[str, bytes]
    start: Start | None = None


def gather(recipe: Recipe, cohort: Cohort, seed: int, cache: Path) -> Material:
    """Read the split, fit the prior where one is asked for, and encode what `cache` does not hold yet.

    The split is the one of this seed, or the only one that there is. Raises ConfigError when it lacks training or
    validation cases, a metric is chosen that the cohort does not have, or a part of the recipe cannot be built.
    """
    splits = Splits.read(cohort)
    of_seed = None if len(splits.seeds) == 1 else seed
    train, validation = splits.cases("train", of_seed), splits.cases("validation", of_seed)
    if not train or not validation:
        raise ConfigError(f"the split of seed {seed} has {len(train)} training and {len(validation)} validation cases")
    if recipe.validation.metric.startswith("openkbp"):
        _require_openkbp(cohort, validation, recipe.validation.metric)
    start = read_start(recipe, cohort)
    if start is not None:
        recipe = going_on(recipe, start, cohort)
        _warn_of_seen(start, cohort, validation)
    protocol = load_protocol(cohort.settings.protocol)
    extra = (*recipe.channels.names, *(("prior",) if recipe.prior else ()))
    channels, table = channels_for(protocol, extra), structure_table(protocol)
    network = network_settings(recipe, channels)
    if start is not None:
        require_same(channels, network, start)
    require_known(channels.names, [spec.name for spec in protocol.structures], channels.targets)
    _require_buildable(recipe, channels, table, network)
    _require_steps(recipe, train)
    _require_doses(cohort, (*train, *validation))
    _require_symmetry(recipe, cohort, train)
    prior = _prior(recipe, start, cohort, (train, validation), cache / "priors")
    examples = Examples(
        cache / "examples", cohort, ExampleSettings(channels, table, recipe.coarsen), dict(prior.doses), prior.key
    )
    examples.prepare((*train, *validation))
    return Material(
        recipe=recipe,
        seed=seed,
        cohort=cohort,
        cohort_sha256=cohort.sha256((*train, *validation)),
        split_sha256=splits.sha256,
        train=train,
        validation=validation,
        channels=channels,
        table=table,
        network=network,
        examples=examples,
        prior_files=prior.files,
        start=start,
    )


def _prior(
    recipe: Recipe, start: Start | None, cohort: Cohort, split: tuple[tuple[str, ...], tuple[str, ...]], folder: Path
) -> PriorDoses:
    """Doses of trees that are fitted here, or of those that the model brings with it."""
    if recipe.prior is None:
        return PriorDoses({}, "", {})
    if start is None or recipe.start is None or recipe.start.trees == "refit":
        return prior_doses(cohort, recipe.prior, split, folder)
    seen = seen_by(start, cohort, split[0])
    if seen:
        raise ConfigError(
            f"{len(seen)} of the training cases were {start.identity.name}'s own ({', '.join(seen[:5])}): its trees do "
            "better on them than on any other, and the network would learn to trust them; set start.trees=refit"
        )
    trees = find_prior_bundle(start.bundle)
    assert trees is not None  # as going_on or require_same saw
    return kept_doses(cohort, trees, (*split[0], *split[1]), folder)


def _warn_of_seen(start: Start, cohort: Cohort, validation: tuple[str, ...]) -> None:
    if seen := seen_by(start, cohort, validation):
        _LOG.warning(
            "%d of %d validation cases were training cases of the model begun from: errors there are too good",
            len(seen),
            len(validation),
        )


def network_settings(recipe: Recipe, channels: Channels) -> NetworkSettings:
    """The recipe as far as it matters for prediction. Patches overlap by half, as in the reference.

    Raises ConfigError when the network cannot be built so.
    """
    residual = recipe.prior is not None and recipe.prior.residual
    # Validated again, for a residual excludes some of the other settings.
    index = channels.names.index("prior") if residual else None
    unet = checked(UNetSettings, {**recipe.unet.model_dump(), "residual_channel": index}, f"recipe {recipe.name}")
    window = None
    if recipe.patch is not None:
        z, y, x = recipe.patch.shape
        window = Window(patch=(z, y, x), overlap=(z // 2, y // 2, x // 2))
    return NetworkSettings(
        unet=unet,
        targets=channels.targets,
        normalisation=channels.normalisation,
        angles_deg=channels.angles_deg,
        coarsen=recipe.coarsen,
        window=window,
        flip_average=recipe.flip_average,
        crop=recipe.crop,
        prior=PRIOR_FOLDER if recipe.prior is not None else None,
        prior_share=recipe.prior.share if recipe.prior is not None else 0.0,
        prior_detail=recipe.prior is not None and recipe.prior.detail,
    )


def _require_buildable(recipe: Recipe, channels: Channels, table: StructureTable, network: NetworkSettings) -> None:
    """Build and drop what else can refuse a setting: now, and not after hours of fitting and encoding."""
    build_losses(recipe.losses, table, recipe.uncertainty)
    Augmentation(recipe.augmentation, channels, table)
    Plan.of(network, channels)


def _require_steps(recipe: Recipe, train: tuple[str, ...]) -> None:
    steps = recipe.epochs * steps_an_epoch(len(train), recipe.per_case, recipe.batch)
    if recipe.optimiser.warmup >= steps:
        raise ConfigError(
            f"optimiser.warmup={recipe.optimiser.warmup} reaches the full rate after the last of {steps} steps"
        )


def _require_doses(cohort: Cohort, keys: tuple[str, ...]) -> None:
    without = [key for key in keys if cohort.arrays(key).dose is None]
    if without:
        raise ConfigError(
            f"{len(without)} of {len(keys)} cases have no clinical dose to learn from: {', '.join(without[:5])}"
            f"{', ...' if len(without) > 5 else ''}; add them again with their RTDOSE, or take their folders out of "
            "cases and split again"
        )


def _require_symmetry(recipe: Recipe, cohort: Cohort, keys: tuple[str, ...]) -> None:
    """Cases are turned by whole fields only where their own fields come to lie on fields."""
    if not recipe.augmentation.turn_share:
        return
    for key in keys:
        if angles_deg := cohort.record(key).gantry_angles_deg:
            try:
                require_turned_onto_itself(angles_deg, Fraction(1, recipe.augmentation.turn_fold))
            except ConfigError as error:
                raise ConfigError(f"case {key}: {error}") from error


def _require_openkbp(cohort: Cohort, keys: tuple[str, ...], metric: str) -> None:
    others = [key for key in keys if cohort.record(key).source != "openkbp"]
    if others:
        raise ConfigError(f"{metric} was chosen, but {len(others)} of {len(keys)} validation cases are not OpenKBP's")
