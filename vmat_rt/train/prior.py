"""Priors: the geometric predictor's dose of every case of a run, as a network's input.

Training patients get the dose of trees that were fitted without them (K folds, no patient in two): with the dose of
trees that had seen it, the network would learn to trust a prior that is never so good again. Validation cases get the
dose of the trees fitted on all training cases; those trees travel in the run's bundle.

Everything is kept on disk, case by case, so that an interrupted computation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from vmat_rt.baseline.boosting import TREES, GeometricPredictor
from vmat_rt.baseline.fit import FitSettings, Fitted, VoxelSamples, draw_samples, grow
from vmat_rt.baseline.scene import FeatureSettings, choose_features
from vmat_rt.bundle import MANIFEST, Bundle, Manifest, TrainingSummary, load_bundle, write_bundle
from vmat_rt.case import FloatArray
from vmat_rt.cohort.store import Cohort, canonical_sha256
from vmat_rt.errors import ConfigError
from vmat_rt.protocol import load_protocol
from vmat_rt.system.cores import usable_cores
from vmat_rt.system.publish import published_folder
from vmat_rt.train.examples import WORTH_A_POOL, locked, mapped
from vmat_rt.train.recipe import PriorSettings

log = logging.getLogger("vmat_rt")

PRIOR_FOLDER: Final = "prior"
"""Where a run's bundle keeps the bundle of its prior."""

FORMAT: Final = 1
"""Changes whenever features or trees give another dose for the same settings: doses kept from before are not used."""

_ALL: Final = "all"


@dataclass(frozen=True)
class PriorDoses:
    """doses: case key -> float32 .npy (z, y, x), Gy on the cohort's grid. key: changes with anything that changes a
    dose. files: the prior's own bundle, as files of the bundle that needs it.
    """

    doses: Mapping[str, Path]
    key: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class _Job:
    """One case: to draw samples from, or to predict with the trees in `trees`."""

    cohort: str
    key: str
    place: Path
    seed: int = 0
    features: FeatureSettings | None = None
    fit: FitSettings | None = None
    trees: Path | None = None


def prior_doses(
    cohort: Cohort, settings: PriorSettings, split: tuple[Sequence[str], Sequence[str]], folder: Path
) -> PriorDoses:
    """Out-of-fold doses of the training cases split[0] and doses of the validation cases split[1], under `folder`.

    Raises ConfigError when there are too few training cases for the folds and for the trees' own held-out cases.
    """
    train, validation = tuple(sorted(split[0])), tuple(sorted(split[1]))
    features = choose_features(load_protocol(cohort.settings.protocol), settings.beams, settings.importance)
    # What the network does with the doses changes none of them.
    own = settings.model_dump(mode="json", exclude={"residual", "share", "detail"})
    said = {"settings": own, "features": features.model_dump(mode="json")}
    key = canonical_sha256({**said, "format": FORMAT, "train": cohort.sha256(train)})[:24]
    here = folder / key
    folds = fold_of(cohort, train, settings)
    _require_enough(Counter(folds.values()), len(train), settings)
    with locked(here):
        _draw_all(cohort, train, features, settings.fit, here)
        for fold in range(settings.folds):
            _fit(cohort, [k for k in train if folds[k] != fold], features, settings.fit, here, f"fold_{fold}")
        _fit(cohort, train, features, settings.fit, here, _ALL)
        names = {case: f"fold_{folds[case]}" for case in train} | dict.fromkeys(validation, _ALL)
        doses = _predict_all(cohort, names, here)
    return PriorDoses(doses, key, _files(here / _ALL))


def kept_doses(cohort: Cohort, trees: Bundle, keys: Sequence[str], folder: Path) -> PriorDoses:
    """Doses of all these cases by trees that are there already and have seen none of them, under `folder`."""
    key = canonical_sha256({"kept": trees.identity.sha256, "format": FORMAT})[:24]
    here = folder / key
    with locked(here):
        if not (here / _ALL).is_dir():
            files = {name: trees.read_bytes(name) for name in trees.manifest.files}
            with published_folder(here / _ALL) as temporary:
                write_bundle(temporary, trees.manifest, files)
        doses = _predict_all(cohort, dict.fromkeys(sorted(keys), _ALL), here)
    return PriorDoses(doses, key, _files(here / _ALL))


def _files(trees: Path) -> dict[str, bytes]:
    """A bundle of trees as files of the bundle that needs it."""
    return {f"{PRIOR_FOLDER}/{name}": (trees / name).read_bytes() for name in (MANIFEST, TREES)}


def fold_of(cohort: Cohort, train: Sequence[str], settings: PriorSettings) -> dict[str, int]:
    """Case key -> fold; a patient's cases share one. Raises ConfigError when there are fewer patients than folds."""
    patients = {key: cohort.record(key).patient for key in train}
    order = sorted(set(patients.values()))
    if len(order) < settings.folds:
        raise ConfigError(f"{settings.folds} folds need at least as many training patients, not {len(order)}")
    np.random.default_rng(settings.fit.seed).shuffle(order)
    return {key: order.index(patient) % settings.folds for key, patient in patients.items()}


def _require_enough(sizes: Counter[int], train: int, settings: PriorSettings) -> None:
    least = train - max(sizes.values())
    if least < settings.fit.held_out:
        raise ConfigError(
            f"the prior's trees need {settings.fit.held_out} cases, one of them to tell when to stop, but of {train} "
            f"training cases the largest fold leaves {least}: train on more cases, or set "
            f"prior.fit.held_out={max(least, 2)}, so that one of every {max(least, 2)} cases tells it"
        )


def _draw_all(cohort: Cohort, keys: Sequence[str], features: FeatureSettings, fit: FitSettings, here: Path) -> None:
    jobs = [
        _Job(cohort.place.root, key, here / "samples" / f"{key}.npz", seed, features, fit)
        for seed, key in enumerate(keys)
    ]
    _run(_draw, [job for job in jobs if not job.place.exists()], "prior: features")


def _draw(job: _Job) -> None:
    assert job.features is not None
    assert job.fit is not None
    case = Cohort.open(job.cohort).read(job.key)
    samples = draw_samples(case, job.features, job.fit.voxels_per_case, np.random.default_rng((job.fit.seed, job.seed)))
    _save(job.place, samples)


def _fit(
    cohort: Cohort, keys: Sequence[str], features: FeatureSettings, fit: FitSettings, here: Path, name: str
) -> None:
    """Trees on the samples of these cases, as a bundle here/name; every held_out-th case decides when to stop."""
    if (here / name).is_dir():
        return
    log.info("prior: trees %s, on %d cases", name, len(keys))
    fitted: list[VoxelSamples] = []
    held_out: list[VoxelSamples] = []
    for number, key in enumerate(keys, start=1):
        with np.load(here / "samples" / f"{key}.npz") as stored:
            samples = VoxelSamples(tuple(str(n) for n in stored["names"]), stored["matrix"], stored["missing"])
        (fitted if number % fit.held_out else held_out).append(samples)
    with contextlib.redirect_stdout(sys.stderr):  # where LightGBM tells how it goes; stdout is for results
        trees = grow(fitted, held_out, features, fit)
    with published_folder(here / name) as temporary:
        write_bundle(temporary, _manifest(cohort, trees, features, fit, len(keys)), {TREES: trees.pack()})


def _manifest(cohort: Cohort, trees: Fitted, features: FeatureSettings, fit: FitSettings, cases: int) -> Manifest:
    settings = cohort.settings
    return Manifest(
        schema_version=1,
        name=f"{settings.name}_prior",
        version="1.0.0",
        kind="geometric",
        protocol=settings.protocol,
        grid=settings.grid,
        inputs=trees.names,
        settings={"features": features.model_dump(mode="json"), "fit": fit.model_dump(mode="json")},
        limits=settings.provenance.limits,
        training=TrainingSummary(
            data=("simulated data: " if settings.provenance.simulated else "") + settings.provenance.data,
            cases=cases,
            date=datetime.now(UTC).date().isoformat(),
            command="vmat-rt train",
            hardware=f"{fit.threads} threads",
            licence=settings.provenance.licence,
        ),
        files={},
    )


def _predict_all(cohort: Cohort, names: Mapping[str, str], here: Path) -> dict[str, Path]:
    """Case key -> the file of its dose by the trees here/name. A changed case gets another file."""
    jobs = []
    for key, name in names.items():
        content = cohort.record(key).content_sha256[:12]
        jobs.append(_Job(cohort.place.root, key, here / "doses" / f"{key}_{content}.npy", trees=here / name))
    _run(_predict, [job for job in jobs if not job.place.exists()], "prior: doses")
    return {job.key: job.place for job in jobs}


def _predict(job: _Job) -> None:
    assert job.trees is not None
    case = Cohort.open(job.cohort).read(job.key)
    predicted = GeometricPredictor(load_bundle(job.trees)).predict(case, case.ct.grid)
    _save(job.place, predicted.dose.array)


def _run(function: Callable[[_Job], None], jobs: Sequence[_Job], what: str) -> None:
    if jobs:
        log.info("%s of %d cases", what, len(jobs))
    workers = usable_cores() if len(jobs) >= WORTH_A_POOL else 1
    for _ in tqdm(mapped(function, jobs, workers), what, len(jobs), unit="case", disable=None if jobs else True):
        pass


def _save(place: Path, content: FloatArray | VoxelSamples) -> None:
    """A dose as .npy or samples as .npz, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}")
    with temporary.open("wb") as handle:
        if isinstance(content, VoxelSamples):
            names = np.array(content.names)
            np.savez(handle, names=names, matrix=content.matrix, missing=content.missing)
        else:
            np.save(handle, content)
    temporary.replace(place)
