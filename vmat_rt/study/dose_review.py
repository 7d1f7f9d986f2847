"""DoseReview: the DVHs of structures in one dose, with the goals of a protocol and what there is to know about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vmat_rt.case import Prescription, Structure, Volume
from vmat_rt.errors import Problem
from vmat_rt.metrics.dvh.compute import Dvh, check_coverage, compute_dvhs, key_by_structure_name
from vmat_rt.metrics.goals import GoalResult, check_goal_sets
from vmat_rt.metrics.grammar import Metric
from vmat_rt.metrics.shells import ShellDvh, compute_shell_dvhs, find_shells
from vmat_rt.protocol import Protocol


@dataclass(frozen=True, eq=False, repr=False)
class DoseReview(Mapping[str, Dvh]):
    """A mapping: TG-263 name, or the ROI's own name where it has none -> Dvh. `review["Rectum"].value("V50Gy")`.

    shells: those of lower targets, on which their goals are judged: `review.shells["PTV_5600"].dvh.value("D2%")`.

    metrics: those that were asked for, besides those of the goals. goals: what became of each goal,
    by goal set; empty without protocol or prescription. problems: warnings, also for structures that leave the dose.
    """

    dvhs: Mapping[str, Dvh]
    metrics: tuple[Metric, ...]
    goals: Mapping[str, tuple[GoalResult, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    shells: Mapping[str, ShellDvh] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Dvh:
        return self.dvhs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.dvhs)

    def __len__(self) -> int:
        return len(self.dvhs)

    def __repr__(self) -> str:
        lines = []
        shells = {shell.shell.label: shell.dvh for shell in self.shells.values()}
        for name, dvh in {**self.dvhs, **shells}.items():
            values = (f"{metric} {_shown(value)}" for metric, value in dvh.values(self.metrics).items())
            lines.append(f"{name:<24} {dvh.volume_cc:>9.2f} cc  {'  '.join(values)}")
        return "\n".join([*lines, *map(str, self.problems)])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def review_dose(
    structures: Sequence[Structure],
    dose: Volume,
    metrics: Sequence[Metric],
    prescription_gy: Mapping[str, float],
    protocol: Protocol | None = None,
    prescription: Prescription | None = None,
) -> DoseReview:
    """DVHs of the structures in a dose (Gy), and the protocol's goals where protocol and prescription are given.

    prescription_gy is what relative metrics refer to, by TG-263 or ROI name. Errors as in compute_dvhs.
    """
    goal_metrics = protocol.goal_metrics() if protocol is not None else ()
    wanted: list[Metric | str] = [*metrics, *goal_metrics]
    dvhs = compute_dvhs(structures, dose, metrics=wanted, prescription_gy=prescription_gy)
    found = find_shells(structures, prescription_gy, protocol) if protocol is not None else ()
    shells = compute_shell_dvhs(found, dose, wanted, prescription_gy)
    goals = {}
    if protocol is not None and prescription is not None:
        goals = check_goal_sets(protocol, dvhs.values(), prescription, shells)
    return DoseReview(key_by_structure_name(dvhs), tuple(metrics), goals, check_coverage(dvhs), shells)
