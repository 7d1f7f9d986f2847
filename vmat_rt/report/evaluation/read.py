"""read_evaluation: the folder that `vmat-rt evaluate` left, checked and typed. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.metrics.statistics.results_file import ResultRow, read_results
from vmat_rt.report.evaluation_schema import AgainstClinicalDocument, AggregateDocument, CaseDocument
from vmat_rt.strict import reason

Document = TypeVar("Document", bound=BaseModel)

_AGAIN: Final = "Write it again with vmat-rt evaluate."


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. name is its folder's; cases may be empty where only the tables were kept."""

    name: str
    folder: Path
    aggregate: AggregateDocument
    rows: tuple[ResultRow, ...]
    cases: tuple[CaseDocument, ...]
    clinical: AgainstClinicalDocument | None

    def dose_path(self, document: CaseDocument) -> Path:
        """The path to which `--save-dose` writes the predicted dose of a case."""
        return self.folder / "cases" / document.label / f"{document.case}.npz"


def read_evaluations(folders: Sequence[Path]) -> tuple[Evaluation, ...]:
    """Read evaluations in the order given. Raises InputError with the problems of all of them."""
    evaluations: list[Evaluation] = []
    problems: list[Problem] = []
    for folder in folders:
        try:
            evaluations.append(read_evaluation(folder))
        except InputError as error:
            problems += error.problems
    raise_errors(problems)
    return tuple(evaluations)


def read_evaluation(folder: Path) -> Evaluation:
    """Raises InputError: EVALUATION_ABSENT for a folder without aggregate.json, EVALUATION_DAMAGED, RESULTS_*."""
    if not (folder / "aggregate.json").is_file():
        message = f"{folder.name} holds no aggregate.json, so it is not a finished evaluation."
        raise InputError(Problem("EVALUATION_ABSENT", message, "Give a folder that vmat-rt evaluate has written."))
    aggregate = _read_document(folder / "aggregate.json", AggregateDocument)
    labels = [subject.label for subject in aggregate.subjects]
    paths = [folder / "cases" / label / f"{key}.json" for label in labels for key in aggregate.cases.get(label, [])]
    clinical = folder / "against_clinical.json"
    return Evaluation(
        name=folder.resolve().name,
        folder=folder,
        aggregate=aggregate,
        rows=read_results(folder),
        cases=tuple(_read_document(path, CaseDocument) for path in paths if path.is_file()),
        clinical=_read_document(clinical, AgainstClinicalDocument) if clinical.is_file() else None,
    )


def _read_document(path: Path, kind: type[Document]) -> Document:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        message = f"{path.parent.name}/{path.name} cannot be read: {reason(error)}."
        raise InputError(Problem("EVALUATION_DAMAGED", message, _AGAIN)) from error
