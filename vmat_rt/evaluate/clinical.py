"""Clinical plans against prediction: where a plan is worse than its anatomy would let one expect, ranked.

A model errs, and by more in some metrics than in others. How much is taken from cases whose plans it can be held
against (the validation split; without five of those, the other evaluated cases): the mean and SD of clinical minus
predicted in the direction that is worse. A plan stands out where it is worse by more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vmat_rt.report.evaluation_schema import AgainstClinicalDocument, CaseDocument, PlanFinding, Worse

THRESHOLD_Z: Final = 1.0
FEWEST: Final = 5
"""An SD from fewer cases says little."""

SMALLEST_SPREAD: Final = 1e-6
FROM_VALIDATION: Final = "validation split"
FROM_OTHERS: Final = "the other evaluated cases (leave one out)"

_TARGET: Final[dict[str, Worse]] = {"D95%": "lower", "D98%": "lower", "D0.03cc": "higher"}
_ORGAN: Final[dict[str, Worse]] = {"Dmean": "higher", "D0.03cc": "higher"}


@dataclass(frozen=True)
class Pair:
    """One metric of one structure in the clinical and the predicted dose."""

    structure: str
    metric: str
    unit: str
    worse: Worse
    clinical: float
    predicted: float

    @property
    def name(self) -> tuple[str, str]:
        return self.structure, self.metric

    @property
    def excess(self) -> float:
        """How much worse the clinical plan is than predicted."""
        difference = self.clinical - self.predicted
        return difference if self.worse == "higher" else -difference


def collect_pairs(document: CaseDocument) -> list[Pair]:
    """Targets: coverage and hot spot; organs: mean and near-maximum dose; the metrics of the protocol's goals."""
    pairs: list[Pair] = []
    for structure in document.structures:
        prescribed = structure.prescription_gy is not None
        for metric, worse in (_TARGET if prescribed else _ORGAN).items():
            clinical, predicted = structure.reference.get(metric), structure.predicted.get(metric)
            if clinical is not None and predicted is not None:
                pairs.append(Pair(structure.name, metric, "Gy", worse, clinical, predicted))
    for goal in (single for whole in document.goals for single in (whole.arms or [whole])):
        direction: Worse = "higher" if goal.comparison in {"<", "<="} else "lower"
        if goal.reference is not None and goal.predicted is not None:
            judged = goal.structure if goal.judged_on in {"", goal.structure} else f"{goal.structure} shell"
            pairs.append(Pair(judged, goal.metric, goal.unit, direction, goal.reference, goal.predicted))
    # Several goals may ask for one metric; it counts once, as it was asked for first.
    found: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        found.setdefault(pair.name, pair)
    return list(found.values())


def compare_with_clinical(
    evaluated: Sequence[CaseDocument], spread: Mapping[str, Sequence[CaseDocument]], threshold_z: float = THRESHOLD_Z
) -> AgainstClinicalDocument:
    """Rank the evaluated cases' findings of all models by z. spread: label -> documents of the cases that tell its own
    error; fewer than FEWEST finished ones are passed over for the other evaluated cases.
    """
    findings: list[PlanFinding] = []
    compared = passed = 0
    sources: dict[str, str] = {}
    for label in dict.fromkeys(document.label for document in evaluated):
        own = [document for document in evaluated if document.label == label and document.status == "done"]
        validated = [document for document in spread.get(label, ()) if document.status == "done"]
        sources[label] = FROM_VALIDATION if len(validated) >= FEWEST else FROM_OTHERS
        for document in own:
            others = validated if len(validated) >= FEWEST else [other for other in own if other.case != document.case]
            judged = [_find_excess(document, pair, _collect_excesses(others, pair)) for pair in collect_pairs(document)]
            compared += sum(finding is not None for finding in judged)
            passed += sum(finding is None for finding in judged)
            findings += [finding for finding in judged if finding is not None and finding.z > threshold_z]
    findings.sort(key=lambda finding: (-finding.z, finding.model, finding.case, finding.structure, finding.metric))
    return AgainstClinicalDocument(
        threshold_z=threshold_z,
        compared=compared,
        not_judged=passed,
        spread_from=sources,
        findings=[finding.model_copy(update={"rank": rank}) for rank, finding in enumerate(findings, start=1)],
    )


def _collect_excesses(documents: Iterable[CaseDocument], wanted: Pair) -> list[float]:
    return [pair.excess for document in documents for pair in collect_pairs(document) if pair.name == wanted.name]


def _find_excess(document: CaseDocument, pair: Pair, excesses: Sequence[float]) -> PlanFinding | None:
    """None where too few cases tell the spread, or they all agree to the last digit (no spread to measure by)."""
    if len(excesses) < FEWEST:
        return None
    expected, spread = float(np.mean(excesses)), float(np.std(excesses, ddof=1))
    if spread < SMALLEST_SPREAD:
        return None
    # The SD of a new case about a mean that n cases estimate.
    z = (pair.excess - expected) / (spread * float(np.sqrt(1 + 1 / len(excesses))))
    return PlanFinding(
        rank=0,
        model=document.model,
        seed=document.seed,
        case=document.case,
        structure=pair.structure,
        metric=pair.metric,
        unit=pair.unit,
        worse=pair.worse,
        clinical=pair.clinical,
        predicted=pair.predicted,
        excess=pair.excess,
        expected=expected,
        spread=spread,
        n_spread=len(excesses),
        z=z,
    )
