"""package_run: a trained network, its prior and its model card as a bundle that predicts."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch

from vmat_rt.bundle import Bundle, Manifest, TrainingSummary, training_cases
from vmat_rt.learned import learned_from
from vmat_rt.nn.network_bundle import pack_network
from vmat_rt.nn.unet import UNet
from vmat_rt.protocol import load_protocol
from vmat_rt.system.publish import published_folder
from vmat_rt.train.material import Material
from vmat_rt.train.recipe import FILE, arguments_of

CARD: Final = "MODEL_CARD.md"

_INTENDED: Final = """For research, commissioning and plan review by medical physicists. The dose is a prediction of \
what planning would reach, not a plan: it cannot be delivered and must not be used for treatment."""


def package_run(
    folder: Path, material: Material, weights: Mapping[str, torch.Tensor], metrics: Mapping[str, float], hardware: str
) -> Bundle:
    """Write the bundle into `folder` (whole, or not at all). metrics are those of the validation cases."""
    settings = material.recipe.bundle
    network = UNet(material.network.unet, len(material.channels.names), material.channels.condition_size)
    network.load_state_dict(copy.copy(dict(weights)))
    manifest = _manifest(material, metrics, hardware)
    beside = {
        **material.prior_files,
        CARD: model_card(manifest, material).encode(),
        FILE: material.recipe.as_yaml().encode(),
        **training_cases(_seen(material)),
    }
    with published_folder(folder) as temporary:
        bundle = pack_network(temporary, manifest, network, settings.half, beside)
    return Bundle(folder, bundle.manifest)


def _seen(material: Material) -> dict[str, str]:
    """The training cases and their images, those of the model that the run began with among them."""
    seen = {key: material.cohort.record(key).image_sha256 for key in material.train}
    if material.start is not None:
        name = material.start.identity.name
        # A key that stands in both cohorts may be another patient's there.
        seen |= {f"{name}/{key}" if key in seen else key: image for key, image in material.start.cases.items()}
    return seen


def _manifest(material: Material, metrics: Mapping[str, float], hardware: str) -> Manifest:
    recipe, cohort = material.recipe, material.cohort.settings
    records = [material.cohort.record(key) for key in material.train]
    followed = {record.protocol for record in records}
    said = "simulated data: " if cohort.provenance.simulated else ""
    return Manifest(
        schema_version=1,
        name=recipe.bundle.name,
        version=recipe.bundle.version,
        kind="network",
        protocol=cohort.protocol,
        also=tuple(sorted(followed - {cohort.protocol})),
        grid=cohort.grid,
        inputs=material.channels.names,
        settings=material.network.model_dump(mode="json"),
        training=TrainingSummary(
            data=said + cohort.provenance.data + _begun(material),
            cases=len(material.train),
            date=datetime.now(UTC).date().isoformat(),
            command=_command(material),
            hardware=hardware,
            licence=cohort.provenance.licence,
            metrics={f"validation_{name}": round(value, 4) for name, value in metrics.items()},
        ),
        limits=_limits(material),
        learned=learned_from(load_protocol(cohort.protocol).site, (record.treatment() for record in records)),
        files={},
    )


def _begun(material: Material) -> str:
    """What the model that the run began with had learned from, and under which licence."""
    if material.start is None:
        return ""
    manifest = material.start.bundle.manifest
    learned = f"{manifest.training.cases} cases, {manifest.training.data}; licence: {manifest.training.licence}"
    return f"; begun from {manifest.name} {manifest.version} ({learned})"


def _command(material: Material) -> str:
    recipe, *changes = arguments_of(material.recipe)
    cohort, seed = material.cohort.settings.name, str(material.seed)
    return shlex.join(["vmat-rt", "train", recipe, "--cohort", cohort, "--seed", seed, *changes])


def _limits(material: Material) -> tuple[str, ...]:
    grid = material.cohort.settings.grid
    extent = " x ".join(f"{n * s:.0f}" for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    limits = [f"Sees {extent} mm (z, y, x) round the targets; nothing is predicted farther out."]
    if share := material.network.prior_share:
        limits.append(f"{share:.0%} of its dose is that of the trees that it is shown: no second opinion on them.")
    if material.recipe.coarsen > 1:
        limits.append(
            f"Computes on voxels of {material.recipe.coarsen} times the grid's spacing; fine detail is blurred."
        )
    return (*limits, *material.cohort.settings.provenance.limits, *material.recipe.bundle.limits)


def model_card(manifest: Manifest, material: Material) -> str:
    """Markdown for people: data, licence, metrics, limits, intended use."""
    training, provenance = manifest.training, material.cohort.settings.provenance
    simulated = "**All patients and doses are simulated.** " if provenance.simulated else ""
    rows = [f"| {name.removeprefix('validation_')} | {value:.3f} |" for name, value in training.metrics.items()]
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"{material.recipe.title}. Predicts dose for {', '.join(manifest.protocols)}. PREDICTED, NOT FOR TREATMENT.",
        "",
        "## Intended use",
        "",
        _INTENDED,
        "",
        "## Data",
        "",
        f"{simulated}{provenance.data}. Licence: {provenance.licence}. {training.cases} cases to train on, "
        f"{len(material.validation)} others to choose the weights by.",
        "",
        *(() if manifest.learned is None else (manifest.learned.card_section(),)),
        "## Results on the validation cases",
        "",
        "Doses in Gy; they chose the weights, so a test on cases of your own comes first.",
        "",
        "| metric | mean |",
        "|---|---|",
        *rows,
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in manifest.limits),
        "",
        "## Training",
        "",
        f"Recipe `{material.recipe.name}`, seed {material.seed}, {training.date}, {training.hardware}.",
        f"Command: `{training.command}`. Inputs: {', '.join(manifest.inputs)}.",
        "",
    ]
    return "\n".join(lines)
