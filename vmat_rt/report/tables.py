"""The report's tables as text: what the page prints, taken from the JSON document, formatted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmat_rt.case import Structure
from vmat_rt.report.schema import DoseEntry, GoalEntry, ReportDocument, StructureMetrics

SYMBOLS: Mapping[str, str] = {"met": "✓", "missed": "✗", "not evaluable": "?", "vacuous": "∅"}
TARGET_COLUMNS = ("D98%", "D95%", "D50%", "D2%", "D0.03cc", "Dmin", "Dmean", "Dmax", "V95%", "V100%", "HI")
ORGAN_COLUMNS = ("Dmean", "D50%", "D5%", "D2%", "D1%", "D0.03cc", "Dmax", "Dmin")
ABSENT = "–"
_RELATIVE = "% of prescription"
_STATUS_ORDER = ("missed", "met", "vacuous", "not evaluable")
_COMPARISONS: Mapping[str, str] = {"<": "<", "<=": "≤", ">": ">", ">=": "≥"}


@dataclass(frozen=True)
class GoalCell:
    """A goal's value on one dose, empty where there is none."""

    label: str
    value: str
    status: str
    symbol: str


@dataclass(frozen=True)
class GoalRow:
    """One goal: as its source states it, as it was evaluated, and what each dose gives.

    structure is what is judged, a structure or the shell of one; empty where it is that of the row above. evaluated is
    empty where it is as stated. reason explains the
    predicted dose's verdict. footnote counts the table's sources from 1.
    """

    structure: str
    stated: str
    evaluated: str
    verdicts: tuple[GoalCell, ...]
    reason: str
    note: str
    footnote: int


@dataclass(frozen=True)
class GoalTable:
    """One goal set. counts are the predicted dose's results by status, in a fixed order, without zeros.

    conversions: what was converted through EQD2, and with which alpha/beta; relative: some limit was a percentage.
    """

    title: str
    labels: tuple[str, ...]
    rows: tuple[GoalRow, ...]
    counts: Mapping[str, int]
    sources: tuple[str, ...]
    conversions: tuple[str, ...]
    relative: bool

    @property
    def converted(self) -> bool:
        """Whether some dose was converted through EQD2."""
        return bool(self.conversions)


@dataclass(frozen=True)
class DvhRow:
    """One structure; lines are (dose, values) for each dose, the values in the order of the table's columns."""

    label: str
    colour: str
    volume_cc: str
    note: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class DvhTable:
    """Structures that are asked for the same metrics."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[DvhRow, ...]


@dataclass(frozen=True)
class TargetTile:
    """One number at the top of the page."""

    label: str
    value: str
    note: str


def format_number(value: float | None, digits: int = 1) -> str:
    """A fixed number of decimals, or a dash for what does not exist."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def format_volume(value: float | None) -> str:
    """A volume in cc with about three figures."""
    if value is None:
        return ABSENT
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def order_doses(document: ReportDocument) -> tuple[DoseEntry, ...]:
    """The doses in the order of the page."""
    return tuple(dose for dose in (document.predicted, document.baseline, document.clinical) if dose is not None)


def build_goal_tables(document: ReportDocument) -> list[GoalTable]:
    """Every goal set of the protocol, with a column for each dose."""
    doses = order_doses(document)
    labels = tuple(dose.label for dose in doses)
    tables = []
    for goal_set in document.protocol.goal_sets:
        columns = [[goal for goal in dose.goals if goal.goal_set == goal_set.name] for dose in doses]
        sources = tuple(dict.fromkeys(goal.source for goal in columns[0]))
        counts = {status: sum(goal.status == status for goal in columns[0]) for status in _STATUS_ORDER}
        rows: list[GoalRow] = []
        above = ""
        for goals in zip(*columns, strict=True):
            rows.append(_build_goal_row(goals, labels, sources, above))
            above = goals[0].judged_on
        counts = {status: count for status, count in counts.items() if count}
        conversions = _describe_conversions(columns[0])
        relative = any(goal.unit_stated == _RELATIVE for goal in columns[0])
        tables.append(GoalTable(goal_set.title, labels, tuple(rows), counts, sources, conversions, relative))
    return tables


def _build_goal_row(goals: Sequence[GoalEntry], labels: Sequence[str], sources: Sequence[str], above: str) -> GoalRow:
    goal = goals[0]
    as_stated, evaluated = _describe_stated(goal), _describe_evaluated(goal)
    verdicts = [
        GoalCell(label, _format_goal_value(result), result.status, SYMBOLS[result.status])
        for label, result in zip(labels, goals, strict=True)
    ]
    return GoalRow(
        structure="" if goal.judged_on == above else goal.judged_on,
        stated=as_stated,
        evaluated="" if evaluated == as_stated else evaluated,
        verdicts=tuple(verdicts),
        reason=goal.reason,
        note=goal.note,
        footnote=sources.index(goal.source) + 1,
    )


def _describe_stated(goal: GoalEntry) -> str:
    if goal.arms:
        return _join_arms(goal, [_describe_stated(arm) for arm in goal.arms])
    return _describe_goal(goal.metric_stated, goal.comparison, goal.limit_stated, goal.unit_stated)


def _describe_evaluated(goal: GoalEntry) -> str:
    if goal.arms:
        return _join_arms(goal, [_describe_evaluated(arm) for arm in goal.arms])
    return _describe_goal(goal.metric_evaluated, goal.comparison, goal.limit_evaluated, goal.unit_evaluated)


def _join_arms(goal: GoalEntry, described: Sequence[str]) -> str:
    if len(set(described)) == 1:
        return described[0]
    return " or ".join(f"{arm.structure} {text}" for arm, text in zip(goal.arms, described, strict=True))


def _describe_goal(metric: str, comparison: str, limit: float | None, unit: str) -> str:
    bound = ABSENT if limit is None else f"{round(limit, 1):g}" if abs(limit) >= 0.1 else f"{limit:g}"
    return f"{metric} {_COMPARISONS[comparison]} {bound} {unit}"


def _format_goal_value(goal: GoalEntry) -> str:
    """The value; of a goal with arms that of each; of a shell also that of the whole. Empty where there is none."""
    if goal.arms:
        values = [_format_goal_value(arm) for arm in goal.arms]
        return " or ".join(value or ABSENT for value in values) if any(values) else ""
    value = "" if goal.value is None else f"{goal.value:.1f} {goal.unit_evaluated}"
    if goal.whole_value is None:
        return value
    return f"{value or ABSENT} (whole {goal.whole_value:.1f} {goal.unit_evaluated})"


def _describe_conversions(goals: Iterable[GoalEntry]) -> tuple[str, ...]:
    """What limits were converted with: one sentence for each structure, alpha/beta and dose per fraction."""
    singles = [single for goal in goals for single in (goal.arms or [goal]) if single.converted]
    return tuple(
        dict.fromkeys(
            f"{goal.structure}: derived at {goal.derived_at_gy_per_fraction:g} Gy per fraction, converted with "
            f"alpha/beta {goal.alpha_beta_gy:g} Gy" + (f" ({goal.alpha_beta_source})" if goal.alpha_beta_source else "")
            for goal in singles
        )
    )


def build_dvh_tables(
    document: ReportDocument, structures: Sequence[Structure], colours: Mapping[str, str]
) -> list[DvhTable]:
    """The DVH table of the targets and that of everything else, which ask for different metrics."""
    targets: list[DvhRow] = []
    organs: list[DvhRow] = []
    for structure in structures:
        by_source: dict[str, StructureMetrics] = {
            dose.label: entry
            for dose in order_doses(document)
            for entry in dose.structures
            if entry.roi_name == structure.roi_name
        }
        if by_source:
            target = structure.name in document.prescription.dose_gy
            label = structure.name or structure.roi_name
            row = _build_dvh_row(
                label, colours[structure.roi_name], by_source, TARGET_COLUMNS if target else ORGAN_COLUMNS
            )
            (targets if target else organs).append(row)
            targets += _build_shell_rows(document, structure.name, colours[structure.roi_name])
    tables = (DvhTable("Targets", TARGET_COLUMNS, tuple(targets)), DvhTable("Others", ORGAN_COLUMNS, tuple(organs)))
    return [table for table in tables if table.rows]


def _build_shell_rows(document: ReportDocument, target: str | None, colour: str) -> list[DvhRow]:
    """The row of a target's shell, in its colour; none where it has no shell."""
    by_source: dict[str, StructureMetrics] = {
        dose.label: shell for dose in order_doses(document) for shell in dose.shells if shell.target == target
    }
    if not by_source:
        return []
    return [_build_dvh_row(next(iter(by_source.values())).roi_name, colour, by_source, TARGET_COLUMNS)]


def _build_dvh_row(
    label: str, colour: str, by_source: Mapping[str, StructureMetrics], columns: Sequence[str]
) -> DvhRow:
    first = next(iter(by_source.values()))
    digits = {"HI": 3}
    return DvhRow(
        label=label,
        colour=colour,
        volume_cc=format_volume(first.volume_cc),
        note=_explain_without_metrics({name: entry.reason for name, entry in by_source.items()}),
        lines=tuple(
            (name, tuple(format_number(entry.metrics.get(m), digits.get(m, 1)) for m in columns))
            for name, entry in by_source.items()
        ),
    )


def _explain_without_metrics(reasons: Mapping[str, str]) -> str:
    """The reason that all doses share, or each dose's own; empty where every dose has metrics."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{label}: {reason}" for label, reason in reasons.items() if reason)


def build_target_tiles(document: ReportDocument) -> list[TargetTile]:
    """D95% of each prescribed target, in Gy and in percent of its prescription."""
    tiles = []
    by_name = {entry.name: entry for entry in document.predicted.structures}
    for name, dose_gy in document.prescription.dose_gy.items():
        entry = by_name.get(name)
        d95 = entry.metrics.get("D95%") if entry is not None else None
        if d95 is not None:
            tiles.append(TargetTile(f"{name} D95%", f"{d95:.1f} Gy", f"{100 * d95 / dose_gy:.1f} % of {dose_gy:g} Gy"))
    return tiles
