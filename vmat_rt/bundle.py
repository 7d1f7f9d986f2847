"""Bundle: a predictor on disk. One folder: `bundle.json` and the files whose hashes it lists. No pickles.

Kinds: "geometric" (vmat_rt.baseline, gradient boosting) and "network" (vmat_rt.nn, safetensors weights).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from vmat_rt.case import ModelIdentity
from vmat_rt.errors import ConfigError, InputError, ModelError, Problem, warning
from vmat_rt.learned import Learned
from vmat_rt.strict import Strict, reason
from vmat_rt.system.extras import format_pip_line, join_names, missing, require

MANIFEST = "bundle.json"
RUN_BUNDLE = "bundle"
"""Where the folder of a training run keeps its bundle."""
TRAINING_CASES = "training_cases.json"
"""A file of a bundle, where its maker wrote one: key of each training case -> SHA-256 of its image, or ""."""


class GridRule(Strict):
    """How a case gets the grid that the model works on; see vmat_rt.geometry.model_grid.

    "fixed": voxels of spacing_mm, shape voxels, centred on the targets (prostate: 2.5 mm, 96 x 160 x 192).
    "ct_blocks": CT voxels averaged in whole blocks, each axis by the factor that brings its spacing nearest to
    spacing_mm (head and neck: 512 pixels of 0.977 mm become 128 of 3.906 mm, as in OpenKBP), cut to shape round the
    targets; an axis that fits as it is stays as it is.
    Both tuples are (z, y, x).
    """

    kind: Literal["fixed", "ct_blocks"]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


class TrainingSummary(Strict):
    """What the model was fitted on and how well it did, for `vmat-rt models` and every report."""

    data: str
    cases: int = Field(gt=0)
    date: str
    command: str
    hardware: str
    licence: str
    metrics: dict[str, float] = Field(default={})


class Manifest(Strict):
    """The content of bundle.json. inputs are the channel or feature names, in order; settings belong to the kind.

    protocol is the one it is named after; also: others whose cases it was trained on. It serves all of them alike.
    learned: the range of those cases; None in bundles of before it was written down.
    """

    schema_version: Literal[1]
    name: str
    version: str
    kind: Literal["geometric", "network"]
    protocol: str
    also: tuple[str, ...] = ()
    default: bool = False
    grid: GridRule
    inputs: tuple[str, ...]
    settings: dict[str, Any] = Field(default={})
    training: TrainingSummary
    limits: tuple[str, ...] = ()
    learned: Learned | None = None
    files: dict[str, str]

    @property
    def protocols(self) -> tuple[str, ...]:
        """Every protocol that it predicts for, the one it is named after first."""
        return (self.protocol, *(name for name in self.also if name != self.protocol))


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder that it describes. problems: what a report has to say of it having been chosen."""

    folder: Path
    manifest: Manifest
    problems: tuple[Problem, ...] = ()

    def read_bytes(self, name: str) -> bytes:
        """One listed file, checked against its SHA-256. Raises ModelError when it is missing or changed."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise ModelError(f"bundle {self.manifest.name}: cannot read {name}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise ModelError(f"bundle {self.manifest.name}: {name} is not the file that was packed (SHA-256 differs)")
        return content

    @property
    def identity(self) -> ModelIdentity:
        """What reports and DICOM say of this model; sha256 covers the manifest and, through it, every file."""
        m = self.manifest
        described = m.model_dump(mode="json")
        for later in ("also", "learned"):
            if not described[later]:
                # A bundle without it keeps the identity that it had before this key existed.
                del described[later]
        text = json.dumps(described, sort_keys=True)
        return ModelIdentity(
            name=m.name,
            version=m.version,
            kind=m.kind,
            protocol_name=", ".join(m.protocols),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            trained_on=f"{m.training.cases} cases, {m.training.data}",
            limits=m.limits,
            metrics=m.training.metrics,
        )


def write_bundle(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> Bundle:
    """Write the files and a manifest that lists their hashes (manifest.files is replaced)."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    manifest = manifest.model_copy(update={"files": hashes})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Bundle(folder, manifest)


def training_cases(images: Mapping[str, str]) -> dict[str, bytes]:
    """The file TRAINING_CASES of a bundle that was trained on these cases: key -> SHA-256 of the image, or ""."""
    return {TRAINING_CASES: json.dumps(images, indent=1).encode()}


def was_trained_on(listed: Mapping[str, str], key: str, image: str) -> bool:
    """Whether a case is among the listed training cases (key -> SHA-256 of the image, or ""): by image, or by key where
    either image is unknown, for another patient may have the same key in another cohort.
    """
    if image and image in listed.values():
        return True
    return key in listed and not (image and listed[key])


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle folder, or the bundle in the folder of a training run.

    Raises ConfigError when there is none, ModelError when its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file() and (folder / RUN_BUNDLE / MANIFEST).is_file():
        folder = folder / RUN_BUNDLE
    path = folder / MANIFEST
    if not path.is_file():
        raise ConfigError(f"{folder} is not a model bundle: it has no {MANIFEST}")
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"bundle {folder.name}: {MANIFEST} is damaged: {reason(error)}") from error
    return Bundle(folder, manifest)


def find_inner_bundle(bundle: Bundle, name: str) -> Bundle:
    """The bundle that another one needs: a folder `name` in it, covered by its hashes, or an installed bundle's name.

    Raises ModelError when it is missing or not the one that was packed.
    """
    listed = f"{name}/{MANIFEST}"
    if listed in bundle.manifest.files:
        bundle.read_bytes(listed)
        return load_bundle(bundle.folder / name)
    for installed in list_installed_bundles():
        if installed.manifest.name == name:
            return installed
    raise ModelError(f"bundle {bundle.manifest.name} needs the bundle {name}, which is neither in it nor installed")


def list_installed_bundles() -> tuple[Bundle, ...]:
    """The bundles that ship with the package, by name."""
    root = Path(str(resources.files("vmat_rt"))) / "bundles"
    return tuple(load_bundle(path.parent) for path in sorted(root.glob(f"*/{MANIFEST}")))


def find_prior_bundle(bundle: Bundle) -> Bundle | None:
    """The bundle whose dose a network is shown; None for a model that needs none. Raises as find_inner_bundle."""
    name = bundle.manifest.settings.get("prior")
    return None if name is None or "prior" not in bundle.manifest.inputs else find_inner_bundle(bundle, name)


def find_baseline_bundle(bundle: Bundle, protocols: Iterable[str]) -> Bundle | None:
    """The geometric bundle to stand beside a network: the one that it corrects, or the installed one of the protocols.

    None for a geometric bundle, and where none is installed. One that is named after a protocol goes before others.
    """
    if bundle.manifest.kind == "geometric":
        return None
    if (prior := find_prior_bundle(bundle)) is not None:
        return prior
    wanted = set(protocols)
    geometric = [other for other in list_installed_bundles() if other.manifest.kind == "geometric"]
    serving = [other for other in geometric if wanted & set(other.manifest.protocols)]
    return min(serving, key=lambda b: [name in wanted for name in b.manifest.protocols].index(True), default=None)


def find_bundle(protocol_name: str, model: str | None = None) -> Bundle:
    """The bundle called `model` (a name, or a folder), else the protocol's default one.

    A default that is named after the protocol goes before one that serves it as well, a network before a geometric one.
    Where networks are not installed the geometric default stands in, with a warning. Raises ConfigError when `model` is
    neither, MissingExtraError when it is a network that cannot run here, InputError (NO_BUNDLE) when the protocol has
    no default.
    """
    installed = list_installed_bundles()
    if model is not None:
        return _find_named(model, installed)
    defaults = [b for b in installed if b.manifest.default and protocol_name in b.manifest.protocols]
    if not defaults:
        raise InputError(
            Problem(
                "NO_BUNDLE",
                f"There is no bundle for this protocol ({protocol_name}).",
                "`vmat-rt models` lists what is installed; give a bundle folder of your own with --model.",
            )
        )
    best = min(defaults, key=lambda bundle: _rank(bundle, protocol_name))
    return best if can_run_here(best) else _stand_in(best, defaults, protocol_name)


def can_run_here(bundle: Bundle) -> bool:
    """Whether what its kind needs is installed."""
    return bundle.manifest.kind == "geometric" or not missing("network")


def _find_named(model: str, installed: Iterable[Bundle]) -> Bundle:
    found = next((bundle for bundle in installed if bundle.manifest.name == model), None)
    if found is None and not Path(model).is_dir():
        known = ", ".join(bundle.manifest.name for bundle in installed)
        raise ConfigError(f"no model is called {model}, and it is not a folder; installed are {known}")
    chosen = found or load_bundle(Path(model))
    if chosen.manifest.kind == "network":
        require("network", what=f"The network {chosen.manifest.name}")
    return chosen


def _rank(bundle: Bundle, protocol_name: str) -> tuple[int, bool]:
    return bundle.manifest.protocols.index(protocol_name), bundle.manifest.kind == "geometric"


def _stand_in(network: Bundle, defaults: Iterable[Bundle], protocol_name: str) -> Bundle:
    """The geometric default, which says that it stands in. Raises MissingExtraError where there is none."""
    geometric = [bundle for bundle in defaults if bundle.manifest.kind == "geometric"]
    if not geometric:
        require("network", what=f"The model of this protocol, the network {network.manifest.name},")
    chosen = min(geometric, key=lambda bundle: _rank(bundle, protocol_name))
    message = (
        f"The geometric model {chosen.manifest.name} predicted this dose: the network {network.manifest.name} needs "
        f"{join_names(missing('network'))}, not installed here."
    )
    problem = warning("NETWORK_NOT_INSTALLED", message, f"Run {format_pip_line('network')} for the network's dose.")
    return replace(chosen, problems=(problem,))
