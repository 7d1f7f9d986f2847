"""What a report is made of: one case, the predicted dose, and the doses that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmat_rt.case import Case, ModelIdentity, Volume
from vmat_rt.errors import Problem
from vmat_rt.metrics.dvh.compute import Dvh
from vmat_rt.metrics.gamma.index import GammaResult
from vmat_rt.metrics.goals import GoalResult
from vmat_rt.metrics.shells import ShellDvh
from vmat_rt.protocol import Protocol
from vmat_rt.report.band_entries import BandsEntry
from vmat_rt.report.schema import DoseLabel


@dataclass(frozen=True)
class DoseResult:
    """One dose of the case with everything measured on it.

    dose is Gy in total over all fractions. dvhs are keyed by ROI name as found in the RTSTRUCT, goals by the name of
    the protocol's goal set, shells by the TG-263 name of the target that they are of. model is None for a dose that no
    model made.
    """

    label: DoseLabel
    dose: Volume
    dvhs: Mapping[str, Dvh]
    goals: Mapping[str, tuple[GoalResult, ...]]
    model: ModelIdentity | None
    shells: Mapping[str, ShellDvh] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """All that `predict` found out about one study.

    others are the geometric baseline and the clinical dose, where there are such. patient holds what the reader of the
    report may see of the patient's identity (`--identify`), and is None by default. seconds are by step, in the
    order of the steps. created is an ISO 8601 time, or None where reports must be reproducible byte for byte. bands is
    None where the model was not calibrated. received is what report.html alone calls the study. baseline_was_shown: the
    model was given the geometric baseline's dose, so that both err together. gammas are of the predicted dose against
    the clinical one, the page's map first.
    """

    case: Case
    protocol: Protocol
    predicted: DoseResult
    others: tuple[DoseResult, ...]
    problems: tuple[Problem, ...]
    patient: Mapping[str, str] | None
    seconds: Mapping[str, float]
    created: str | None
    bands: BandsEntry | None = None
    received: str = ""
    baseline_was_shown: bool = False
    gammas: tuple[GammaResult, ...] = ()

    def other(self, label: DoseLabel) -> DoseResult | None:
        """The dose of that label among `others`, or None."""
        return next((result for result in self.others if result.label == label), None)
