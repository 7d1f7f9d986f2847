"""Subjects: which predictors are evaluated on which cases, and that none of them has seen its cases in training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from vmat_rt.bundle import TRAINING_CASES, Bundle, find_baseline_bundle, find_bundle, find_prior_bundle, was_trained_on
from vmat_rt.case import ModelIdentity
from vmat_rt.cohort.split import Part, Splits
from vmat_rt.cohort.store import Cohort, canonical_sha256
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.report.evaluation_schema import SubjectEntry, SubjectRole

SplitName = Literal["train", "validation", "test", "outliers", "unseen", "all"]
SPLIT_NAMES: Final[tuple[str, ...]] = get_args(SplitName)

_NAMED: Final = re.compile(r"(\w[\w.-]*)=(.+)")
_UNKNOWN_CASES: Final = "it does not record which cases it was trained on: whether it saw some of these is unknown"


@dataclass(frozen=True)
class Subject:
    """One predictor and the cases it is evaluated on. seed is a run's, or empty; see SubjectEntry for the rest."""

    name: str
    seed: str
    role: SubjectRole
    bundle: Bundle
    cases: tuple[str, ...]
    notes: tuple[str, ...] = ()
    label: str = ""
    recipe_sha256: str = ""

    @property
    def identity(self) -> ModelIdentity:
        return self.bundle.identity

    def entry(self) -> SubjectEntry:
        """For JSON."""
        identity = self.identity
        return SubjectEntry(
            label=self.label,
            name=self.name,
            seed=self.seed,
            role=self.role,
            kind=identity.kind,
            version=identity.version,
            sha256=identity.sha256,
            trained_on=identity.trained_on,
            notes=list(self.notes),
            recipe_sha256=self.recipe_sha256,
        )


@dataclass(frozen=True)
class TrainingRun:
    """What the folder of a training run says of itself, as far as an evaluation must know it."""

    seed: int
    train: frozenset[str]
    validation: frozenset[str]
    recipe_sha256: str

    @staticmethod
    def of(bundle: Bundle) -> TrainingRun | None:
        """The run whose folder holds this bundle, or None. Raises ConfigError when run.json is damaged."""
        path = bundle.folder.parent / "run.json"
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            recipe = canonical_sha256(document.get("recipe"))
            parts = frozenset(document["train"]), frozenset(document["validation"])
            return TrainingRun(int(document["seed"]), *parts, recipe_sha256=recipe)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is damaged: which cases its model was trained on is unknown ({error})"
            ) from error


class CaseChoice:
    """The cases of a split. seed None: a run's own, or that of the only split there is.

    Raises ConfigError when the cohort has no splits but one is asked for.
    """

    def __init__(self, cohort: Cohort, split: SplitName, seed: int | None) -> None:
        self.cohort, self.split, self.seed = cohort, split, seed
        self._part = None if split in {"all", "unseen"} else cast(Part, split)
        self._splits = None if self._part is None else Splits.read(cohort)

    def keys(self, run: TrainingRun | None) -> tuple[str, ...]:
        """Keys, sorted. Raises ConfigError for a seed that the splits do not have, or a part that is empty."""
        if self._splits is None or self._part is None:
            keys, what = self.cohort.keys(), "cohort"
        else:
            seed = run.seed if run is not None and self.seed is None else self.seed
            keys, what = self._splits.cases(self._part, self._choose_seed(seed)), f"cohort's {self._part} split"
        if not keys:
            raise ConfigError(f"the {what} has no cases")
        return keys

    def find_validation(self, subject: Subject) -> tuple[str, ...]:
        """The validation cases that go with a subject; none without splits, or where its seed is not among them."""
        if self._splits is None:
            return ()
        own = int(subject.seed) if subject.seed else None
        try:
            return self._splits.cases("validation", self._choose_seed(own if self.seed is None else self.seed))
        except ConfigError:
            return ()

    def _choose_seed(self, seed: int | None) -> int | None:
        """Choose the seed as training does: with one split only, every seed means that one, unless it is asked for."""
        assert self._splits is not None
        return None if len(self._splits.seeds) == 1 and self.seed is None else seed


def choose_subjects(models: Sequence[str], choice: CaseChoice, with_baseline: bool) -> tuple[Subject, ...]:
    """The models in the order given, then the geometric baselines that stand beside them.

    Each of `models` is the name of an installed bundle, or the folder of a bundle or of a run; NAME=MODEL calls it
    otherwise. Raises ConfigError when one is not to be found, is for other protocols than the cohort's, shares its name
    with another, or was trained on a case that it would be evaluated on (unless the split is "train").
    """
    if not models:
        raise ConfigError("name at least one model to evaluate")
    chosen = [_make_subject(model, choice) for model in models]
    # A bundle without a seed beside runs: on the cases that the runs are evaluated on.
    of_runs = {key for _, subject in chosen if subject.seed for key in subject.cases}
    _require_one_recipe_per_name(chosen)
    subjects = []
    for run, subject in chosen:
        if not subject.cases:
            keys = tuple(sorted(of_runs)) if of_runs and choice.seed is None else choice.keys(run)
            subject = replace(subject, cases=keys)
        subjects.append(_check_leak(subject, run, choice))
    if with_baseline:
        subjects += _find_baselines(subjects, choice)
    return _label_subjects(subjects)


def _make_subject(text: str, choice: CaseChoice) -> tuple[TrainingRun | None, Subject]:
    """The cases of what is not a run are left open."""
    named = None if Path(text).exists() else _NAMED.fullmatch(text)
    bundle = find_bundle(choice.cohort.settings.protocol, named[2] if named else text)
    protocol = choice.cohort.settings.protocol
    if protocol not in bundle.manifest.protocols:
        serves = ", ".join(bundle.manifest.protocols)
        raise ConfigError(f"{bundle.manifest.name} predicts for {serves}, the cohort's cases follow {protocol}")
    run = TrainingRun.of(bundle)
    name = named[1] if named else bundle.manifest.name
    if run is None:
        return None, Subject(name, "", "model", bundle, ())
    return run, Subject(name, str(run.seed), "model", bundle, choice.keys(run), recipe_sha256=run.recipe_sha256)


def _require_one_recipe_per_name(chosen: Sequence[tuple[TrainingRun | None, Subject]]) -> None:
    """Runs of one name are averaged as seeds of one model."""
    recipes: dict[str, str] = {}
    for run, subject in chosen:
        if run is not None and recipes.setdefault(subject.name, run.recipe_sha256) != run.recipe_sha256:
            raise ConfigError(f"runs of different recipes are called {subject.name}; tell them apart by NAME=MODEL")


def _check_leak(subject: Subject, run: TrainingRun | None, choice: CaseChoice) -> Subject:
    """The subject with notes on what it may have seen. Raises ConfigError when it was trained on its cases."""
    seen, recorded = _find_seen_in_training(subject, run, choice.cohort)
    notes = list(subject.notes)
    if choice.split == "train":
        notes.append("evaluated on the training split: these numbers say nothing of new patients")
    elif choice.split == "unseen":
        subject = replace(subject, cases=tuple(key for key in subject.cases if key not in seen))
    elif seen:
        raise ConfigError(
            f"{subject.name} was trained on {len(seen)} of the {len(subject.cases)} cases of the {choice.split} split "
            f"({', '.join(seen[:3])}{', ...' if len(seen) > 3 else ''}); evaluate it on the split of its own seed, or "
            "ask for --split train by name"
        )
    chosen_on = [] if run is None else [key for key in subject.cases if key in run.validation]
    if chosen_on:
        notes.append(
            f"{len(chosen_on)} of these {len(subject.cases)} cases chose its weights: its numbers there are too good"
        )
    elif run is None and choice.split == "validation":
        notes.append("if it was trained on this cohort, these cases chose its weights: its numbers are then too good")
    if not recorded:
        notes.append(_UNKNOWN_CASES)
    return replace(subject, notes=tuple(notes))


def list_unseen(subject: Subject, keys: Sequence[str], cohort: Cohort) -> list[str]:
    """List the cases that the subject was not trained on, as far as it records them."""
    seen, _ = _find_seen_in_training(replace(subject, cases=tuple(keys)), TrainingRun.of(subject.bundle), cohort)
    return [key for key in keys if key not in seen]


def _find_seen_in_training(subject: Subject, run: TrainingRun | None, cohort: Cohort) -> tuple[tuple[str, ...], bool]:
    """Its cases that are training cases too: by image, or by key where either image is unknown; whether it records
    them.
    """
    listed: dict[str, str] = {} if run is None else dict.fromkeys(run.train, "")
    recorded = run is not None
    if TRAINING_CASES in subject.bundle.manifest.files:
        recorded = True
        listed |= json.loads(subject.bundle.read_bytes(TRAINING_CASES))
    seen = tuple(key for key in subject.cases if was_trained_on(listed, key, _find_image(cohort, key)))
    return seen, recorded


def _find_image(cohort: Cohort, key: str) -> str:
    """Hash of a case's image; empty where its record is damaged, so that its key must tell."""
    try:
        return cohort.record(key).image_sha256
    except InputError:
        return ""


def _find_baselines(subjects: Iterable[Subject], choice: CaseChoice) -> list[Subject]:
    """The geometric predictor beside each network: its own prior, fitted on its own training cases, or the installed
    one of the protocol. The same predictor beside several models stands once, on the cases of all of them.
    """
    beside: dict[tuple[str, str], Subject] = {}
    given = {subject.identity.sha256 for subject in subjects}
    for subject in subjects:
        baseline = _find_baseline(subject, choice.cohort.settings.protocol)
        if baseline is None or baseline.identity.sha256 in given:
            continue
        key = (baseline.identity.sha256, baseline.seed)
        if key in beside:
            cases = sorted({*beside[key].cases, *baseline.cases})
            beside[key] = replace(beside[key], cases=tuple(cases))
        else:
            beside[key] = baseline
    models = {subject.name for subject in subjects}
    return _tell_apart([_flag_seen(baseline, choice) for baseline in beside.values()], models)


def _find_baseline(subject: Subject, protocol: str) -> Subject | None:
    beside = find_baseline_bundle(subject.bundle, (protocol,))
    if beside is None:
        return None
    plain = Subject(beside.manifest.name, "", "baseline", beside, subject.cases)
    if find_prior_bundle(subject.bundle) is None:
        return plain
    inside = beside.folder.parent == subject.bundle.folder
    note = f"fitted on the training cases of {subject.name}; its dose is an input of that network"
    return replace(plain, seed=subject.seed if inside else "", notes=(note,))


def _flag_seen(baseline: Subject, choice: CaseChoice) -> Subject:
    """With a note where it saw cases, or may have. It is not refused: it is the model beside it that counts."""
    if baseline.notes or choice.split == "train":
        return baseline
    seen, recorded = _find_seen_in_training(baseline, None, choice.cohort)
    if seen:
        count = f"{len(seen)} of these {len(baseline.cases)} cases"
        return replace(baseline, notes=(f"it was fitted on {count}: its numbers are too good",))
    return baseline if recorded else replace(baseline, notes=(_UNKNOWN_CASES,))


def _tell_apart(baselines: list[Subject], models: Set[str]) -> list[Subject]:
    """Baselines that share name and seed, or their name with one of the models, get a number behind the name."""
    times: dict[tuple[str, str], int] = {}
    named = []
    for baseline in baselines:
        key = (baseline.name, baseline.seed)
        times[key] = times.get(key, int(baseline.name in models)) + 1
        named.append(replace(baseline, name=f"{baseline.name}_{times[key]}") if times[key] > 1 else baseline)
    return named


def _label_subjects(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """With labels: the name, and the seed behind it where a name has several.

    Raises ConfigError where a model of one name is not a run: only seeds of a run may be pooled.
    """
    names = [subject.name for subject in subjects]
    labelled = []
    no_runs = {s.name for s in subjects if s.role == "model" and not s.seed and names.count(s.name) > 1}
    if no_runs:
        raise ConfigError(f"two models are called {', '.join(sorted(no_runs))}; give one another name by NAME=MODEL")
    for subject in subjects:
        label = subject.name if names.count(subject.name) == 1 else f"{subject.name}-{subject.seed or 'no_seed'}"
        labelled.append(replace(subject, label=re.sub(r"[^\w.-]", "_", label)))
    taken = [subject.label for subject in labelled]
    twice = sorted({label for label in taken if taken.count(label) > 1})
    if twice:
        raise ConfigError(f"two models are called {', '.join(twice)}; give one another name by NAME=MODEL")
    return tuple(labelled)
