"""report_evaluations: evaluation folders, runs and a cohort -> the page. It fetches what pictures need, then draws."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from vmat_rt.bundle import Bundle
from vmat_rt.case import Case, Volume
from vmat_rt.errors import ConfigError, InputError, VmatError
from vmat_rt.grid import Grid
from vmat_rt.protocol import load_protocol
from vmat_rt.report.evaluation.exemplars import Choice, Exemplar, choose
from vmat_rt.report.evaluation.page import write_evaluation_report
from vmat_rt.report.evaluation.pooled import Model, Pooled, order_seeds, pool
from vmat_rt.report.evaluation.read import read_evaluations
from vmat_rt.report.evaluation.runs import collect_bundles, read_run
from vmat_rt.report.evaluation.sections import ReportMaterial
from vmat_rt.system.publish import published_folder

if TYPE_CHECKING:
    # A report without --cohort needs no zarr.
    from vmat_rt.cohort.store import Cohort

_NO_COHORT = (
    "No cohort was given, so there is no CT to draw on: name it with --cohort. Doses are shown as evaluated where "
    "vmat-rt evaluate was run with --save-dose; otherwise they are predicted again, for which the model must be there "
    "(--run, or installed)."
)


@dataclass(frozen=True)
class Asked:
    """What to report on. model: the one that pictures show, None for the one with the lowest MAE."""

    evaluations: tuple[Path, ...]
    runs: tuple[Path, ...] = ()
    cohort: str | None = None
    model: str | None = None
    device: str = "auto"


def report_evaluations(asked: Asked, out: Path) -> list[Path]:
    """Write report.html and figures/ as the folder `out`; an older report there is replaced as a whole.

    Raises InputError for folders that are not evaluations or runs, ConfigError for a model or cohort that is not there,
    or when `out` holds something that is not a report.
    """
    _refuse_other_folder(out)
    material = gather(asked)
    with published_folder(out) as temporary:
        written = write_evaluation_report(material, temporary)
        names = [path.relative_to(temporary) for path in written]
    return [out / name for name in names]


def _refuse_other_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or {p.name for p in out.iterdir()} - {"report.html", "figures"}):
        raise ConfigError(f"{out} holds something else than a report; give a new folder")


def gather(asked: Asked) -> ReportMaterial:
    """Everything that the page is made of. Errors as in report_evaluations."""
    pooled = pool(read_evaluations(asked.evaluations))
    focus = _choose_focus(pooled, asked.model)
    runs = tuple(sorted(map(read_run, asked.runs), key=lambda run: (run.name, order_seeds(run.seed))))
    bundles = collect_bundles(runs)
    exemplars: tuple[Exemplar, ...] = ()
    reasons: list[str] = []
    splits: Mapping[str, Mapping[str, int]] = {}
    if asked.cohort is None:
        reasons.append(_NO_COHORT)
    else:
        from vmat_rt.cohort.store import Cohort

        cohort = Cohort.open(asked.cohort)
        splits = _count_sizes(cohort)
        source = _Source(cohort, focus, bundles, asked.device)
        exemplars, reasons = source.exemplars(choose(focus))
    return ReportMaterial(pooled, focus, runs, bundles, splits, exemplars, " ".join(reasons))


def _choose_focus(pooled: Pooled, name: str | None) -> Model:
    try:
        return pooled.focus(name)
    except KeyError:
        known = ", ".join(model.name for model in pooled.models)
        raise ConfigError(f"no evaluated model is called {name}; there are {known}") from None


def _count_sizes(cohort: Cohort) -> dict[str, dict[str, int]]:
    """Number of cases by seed and part; empty for a cohort without splits."""
    from vmat_rt.cohort.split import Part, Splits

    try:
        splits = Splits.read(cohort)
    except ConfigError:
        return {}
    return {str(s): {part: len(splits.cases(part, s)) for part in get_args(Part)} for s in splits.seeds}


@dataclass(frozen=True)
class _Source:
    """Where exemplary doses come from: saved beside their results, else predicted again by the same model."""

    cohort: Cohort
    model: Model
    bundles: Mapping[str, Bundle]
    device: str

    def exemplars(self, choices: Sequence[Choice]) -> tuple[tuple[Exemplar, ...], list[str]]:
        """Collect those that can be shown, and a sentence for each that cannot."""
        found, reasons = [], []
        for choice in choices:
            try:
                found.append(self._make_exemplar(choice))
            except InputError as error:
                reasons.append(_say_not_shown(choice, "; ".join(problem.message for problem in error.problems)))
            except VmatError as error:
                reasons.append(_say_not_shown(choice, str(error)))
        return tuple(found), reasons

    def _make_exemplar(self, choice: Choice) -> Exemplar:
        pair = (choice.seed, choice.case)
        document = self.model.documents.get(pair)
        if document is None:
            raise ConfigError("its document under cases/ is not there")
        if choice.case not in set(self.cohort.keys()):
            raise ConfigError(f"the cohort {self.cohort.settings.name} has no such case")
        record = self.cohort.record(choice.case)
        if record.content_sha256 != document.case_sha256:
            raise ConfigError("the cohort's case is not the one that was evaluated (its content differs)")
        case = self.cohort.read(choice.case)
        saved = self.model.evaluations[pair].dose_path(document)
        dose = read_dose(saved, case) if saved.is_file() else self._predict_dose(case, document.model_sha256)
        return Exemplar(choice, case, dose, load_protocol(record.protocol))

    def _predict_dose(self, case: Case, sha256: str) -> Volume:
        bundle = self.bundles.get(sha256)
        if bundle is None:
            raise ConfigError(
                "its dose was not saved and the model is not at hand: evaluate with --save-dose, or name its run "
                "with --run"
            )
        from vmat_rt.evaluate.work import on_reference_grid

        return on_reference_grid(case, bundle, self.cohort, self.device)[0]


def _say_not_shown(choice: Choice, reason: str) -> str:
    return f"The {choice.rank} case, {choice.case}, is not shown: {reason.rstrip('.')}."


def read_dose(path: Path, case: Case) -> Volume:
    """A dose that `--save-dose` wrote, in the frame of its case. Raises ConfigError when it is damaged."""
    try:
        with np.load(path) as content:
            array = np.ascontiguousarray(content["dose"], np.float32)
            spacing, origin = (tuple(map(float, content[name])) for name in ("spacing_mm", "origin_mm"))
        (z, y, x), (a, b, c), (d, e, f) = array.shape, spacing, origin
        return Volume(Grid((z, y, x), (a, b, c), (d, e, f), case.ct.grid.frame_uid), array)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path.name} cannot be read ({error})") from error
