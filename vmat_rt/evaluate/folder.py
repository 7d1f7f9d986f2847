"""EvaluationFolder: the files of an evaluation, and which cases of an earlier one still stand.

cases/<label>/<case>.json, .npz     one model on one case, its dose where asked for
results.csv, failures.csv           every number in one tidy table; every case that gave none, with its code
aggregate.json                      pooled over cases and seeds
against_clinical.json, .csv         where clinical plans are worse than predicted
spread/<label>/<case>.json          the cases that tell each model's own spread
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from vmat_rt.case import Volume
from vmat_rt.evaluate.work import CaseOutcome, EvaluationTask
from vmat_rt.metrics.statistics.results_file import ResultRow, write_results
from vmat_rt.report.evaluation_schema import AgainstClinicalDocument, AggregateDocument, CaseDocument, PlanFinding
from vmat_rt.system.publish import refuse_foreign, require_writable

CASES = "cases"
SPREAD = "spread"


class EvaluationFolder:
    """Paths and files. Each file is whole or absent at any moment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.aggregate = root / "aggregate.json"
        self.results = root / "results.csv"
        self.failures = root / "failures.csv"
        self.against_clinical = root / "against_clinical.json"

    def require_own(self) -> None:
        """Raises ConfigError where somebody else's files lie, InputError where none can be written."""
        require_writable(self.root)
        refuse_foreign(self.root, (self.aggregate.name, CASES), "an evaluation")

    def kept(self, task: EvaluationTask, part: str = CASES) -> CaseDocument | None:
        """The finished result of an earlier evaluation of the same model, case content and measures, or None."""
        path = self._find_case_file(task, part)
        try:
            document = CaseDocument.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError):
            return None
        same = (
            document.status == "done"
            and (document.model_sha256, document.case, document.case_sha256)
            == (task.model_sha256, task.case, task.case_sha256)
            and (document.label, document.model, document.seed) == (task.label, task.model, task.seed)
            and document.measured_by == task.measured_by
            and (not task.save_dose or path.with_suffix(".npz").is_file())
        )
        return document if same else None

    def keep(self, task: EvaluationTask, outcome: CaseOutcome, part: str = CASES) -> None:
        """Write what came of a task: the dose first, so that a result with a document is complete."""
        path = self._find_case_file(task, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        if outcome.dose is not None:
            _write_dose(path.with_suffix(".npz"), outcome.dose)
        else:
            path.with_suffix(".npz").unlink(missing_ok=True)
        _write_json(path, outcome.document)

    def write_tables(
        self, document: AggregateDocument, rows: Iterable[ResultRow], cases: Iterable[CaseDocument]
    ) -> None:
        """results.csv, failures.csv and aggregate.json; what an earlier evaluation said against plans goes."""
        self.root.mkdir(parents=True, exist_ok=True)
        for old in (self.against_clinical, self.against_clinical.with_suffix(".csv")):
            old.unlink(missing_ok=True)
        temporary = _name_beside(self.results)
        write_results(temporary, rows)
        temporary.replace(self.results)
        failures = [
            (case.model, case.seed, case.case, problem.code, problem.message, problem.remedy)
            for case in cases
            if case.status == "failed"
            for problem in case.problems
        ]
        _write_csv(self.failures, ("model", "seed", "case", "code", "message", "remedy"), failures)
        _write_json(self.aggregate, document)

    def write_against_clinical(self, document: AgainstClinicalDocument) -> None:
        """against_clinical.json and .csv."""
        _write_json(self.against_clinical, document)
        names = tuple(PlanFinding.model_fields)
        rows = [tuple(getattr(finding, name) for name in names) for finding in document.findings]
        _write_csv(self.against_clinical.with_suffix(".csv"), names, rows)

    def _find_case_file(self, task: EvaluationTask, part: str) -> Path:
        return self.root / part / task.label / f"{task.case}.json"


def _write_dose(path: Path, dose: Volume) -> None:
    temporary = _name_beside(path)
    with temporary.open("wb") as handle:
        np.savez_compressed(
            handle,
            dose=dose.array.astype(np.float32, copy=False),
            spacing_mm=np.array(dose.grid.spacing_mm),
            origin_mm=np.array(dose.grid.origin_mm),
        )
    temporary.replace(path)


def _write_json(path: Path, document: BaseModel) -> None:
    temporary = _name_beside(path)
    temporary.write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    temporary = _name_beside(path)
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    temporary.replace(path)


def _name_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
