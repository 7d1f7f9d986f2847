"""One case of a cohort: its dose-volume metrics and curves, how far organs overlap the target, and its picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.info.ranges import choose_range_metrics
from vmat_rt.errors import InputError, Problem
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.metrics.goals import Status, check_goal_sets
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.metrics.shells import ShellDvh, compute_shell_dvhs, find_shells
from vmat_rt.protocol import Protocol, load_protocol
from vmat_rt.report.contact_sheet import SheetTile, make_tile

TARGET_METRICS: Final = ("D98%", "D95%", "D2%", "D0.03cc", "Dmean")
ORGAN_METRICS: Final = ("Dmean", "D0.03cc")
BODY_METRICS: Final = ("D0.03cc",)
CURVE_STEP_GY: Final = 0.5


@dataclass(frozen=True)
class CaseSurvey:
    """What is known of one case.

    metrics: by structure, then metric, in its own unit; one that cannot be given is left out. curves: percent of the
    volume that gets at least k * CURVE_STEP_GY. overlaps: percent of an organ within the highest-dose target. goals:
    status by (goal set, goal as stated). dose_gy: the highest voxel. problem: why the case could not be read; all else
    is empty then.
    """

    key: str
    metrics: dict[str, dict[str, float]]
    curves: dict[str, NDArray[np.float32]]
    overlaps: dict[str, float]
    goals: dict[tuple[str, str], Status]
    dose_gy: float
    tile: SheetTile | None
    problem: Problem | None = None

    @classmethod
    def unread(cls, key: str, problem: Problem) -> CaseSurvey:
        """Make the survey of a case of which only the problem is known."""
        return cls(key, {}, {}, {}, {}, 0.0, None, problem)


@dataclass(frozen=True)
class SurveyTask:
    """A task for a worker. levels: points of a DVH curve. with_tile: draw the picture too."""

    cohort_uri: str
    key: str
    levels: int
    with_tile: bool


def survey_case(task: SurveyTask) -> CaseSurvey:
    """Read and examine one case; a damaged one is reported in the result, not raised."""
    cohort = Cohort.open(task.cohort_uri)
    try:
        record, case = cohort.record(task.key), cohort.read(task.key)
    except InputError as damage:
        return CaseSurvey.unread(task.key, damage.problems[0])
    protocol = load_protocol(record.protocol)
    dvhs = _compute_dvhs(case, protocol)
    levels = CURVE_STEP_GY * np.arange(task.levels, dtype=np.float64)
    dose = case.reference_dose
    return CaseSurvey(
        key=task.key,
        metrics={name: _evaluate_metrics(name, dvh, case, protocol) for name, dvh in dvhs.items()},
        curves={n: dvh.curve(levels).astype(np.float32) for n, dvh in dvhs.items() if dvh.cumulative is not None},
        overlaps=_measure_overlaps(case, protocol),
        goals=_judge_goals(case, protocol, dvhs),
        dose_gy=0.0 if dose is None else float(dose.array.max()),
        tile=make_tile(case, task.key, plan_in_words(record)) if task.with_tile else None,
    )


def plan_in_words(record: CaseRecord) -> str:
    """Such as "SIB, nodal, hip prosthesis"."""
    words = ["SIB" if record.plan_type == "sib" else "single level", *(["nodal"] if record.nodal else [])]
    return ", ".join([*words, *(flag.replace("_", " ") for flag in record.flags)])


def choose_metrics(name: str, case: Case, protocol: Protocol) -> tuple[str, ...]:
    """The metrics of one structure: the usual ones, then those of its goals, as the protocol states them."""
    if name == case.body.name:
        usual: tuple[str, ...] = BODY_METRICS
    else:
        usual = TARGET_METRICS if name in case.prescription.dose_gy else ORGAN_METRICS
    asked = [goal.metric for goals in protocol.goal_sets for goal in goals.single_goals() if goal.structure == name]
    return tuple(dict.fromkeys(str(parse_metric(metric)) for metric in (*usual, *choose_range_metrics(name), *asked)))


def _compute_dvhs(case: Case, protocol: Protocol) -> dict[str, Dvh]:
    """Compute the DVHs by TG-263 name; of the body too, as goals may ask for its hot spot."""
    if case.reference_dose is None:
        return {}
    structures = {**case.structures, case.body.name or "External": case.body}
    wanted = dict.fromkeys(metric for name in structures for metric in choose_metrics(name, case, protocol))
    dvhs = compute_dvhs(
        structures.values(), case.reference_dose, metrics=wanted, prescription_gy=case.prescription.dose_gy
    )
    return dict(zip(structures, dvhs.values(), strict=True))


def _evaluate_metrics(name: str, dvh: Dvh, case: Case, protocol: Protocol) -> dict[str, float]:
    values = dvh.values(choose_metrics(name, case, protocol))
    return {metric: float(value) for metric, value in values.items() if value is not None}


def _judge_goals(case: Case, protocol: Protocol, dvhs: dict[str, Dvh]) -> dict[tuple[str, str], Status]:
    doses_gy, dose = case.prescription.dose_gy, case.reference_dose
    shells: dict[str, ShellDvh] = {}
    if dose is not None:
        found = find_shells(case.structures.values(), doses_gy, protocol)
        shells = compute_shell_dvhs(found, dose, protocol.goal_metrics(), doses_gy)
    results = check_goal_sets(protocol, dvhs.values(), case.prescription, shells)
    return {(name, one.stated): one.status for name, goals in results.items() for one in goals}


def _measure_overlaps(case: Case, protocol: Protocol) -> dict[str, float]:
    target = next((case.structures[name].shape for name in case.targets()), None)
    if not isinstance(target, Volume):
        return {}
    return dict(_measure_shares(case, protocol, target.array))


def _measure_shares(case: Case, protocol: Protocol, target: FloatArray) -> Iterator[tuple[str, float]]:
    for spec in protocol.with_role("oar"):
        organ = case.structures.get(spec.name)
        if organ is not None and isinstance(organ.shape, Volume):
            common = np.minimum(organ.shape.array, target).sum(dtype=np.float64)
            yield spec.name, 100.0 * float(common / organ.shape.array.sum(dtype=np.float64))
