"""What is in a cohort, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vmat_rt.curation.info.describe import CohortInfo

_MOST_OUTLIERS: Final = 20


def as_text(info: CohortInfo) -> str:
    """Counts, volumes, dose-volume statistics, goals, ranges and outliers."""
    parts = [
        _format_counts(info),
        _format_volumes(info),
        _format_dvh(info),
        _format_overlaps(info),
        _format_goals(info),
        _format_ranges(info),
        _format_outliers(info),
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _format_counts(info: CohortInfo) -> Iterator[str]:
    counts, document = info.counts, info.document()
    suffix = " (SIMULATED)" if info.simulated else ""
    yield f"Cohort {info.settings.name}{suffix}: {counts['cases']} cases of {counts['patients']} patients"
    yield (
        f"  {counts['sib']} SIB, {counts['single_level']} single level, {counts['nodal']} nodal; "
        f"{counts['with_dose']} with a dose; {counts['damaged']} damaged"
    )
    for title, key in (("flags", "flags"), ("warnings", "warnings"), ("refused", "refused")):
        if document[key]:
            yield f"  {title}: " + ", ".join(f"{number} {name}" for name, number in document[key].items())


def _format_volumes(info: CohortInfo) -> Iterator[str]:
    volumes = info.volumes()
    if volumes:
        yield f"{'Volume, cc':22}{'n':>5}{'median':>10}{'10 %':>10}{'90 %':>10}{'lowest':>10}{'highest':>10}"
    for name, values in volumes.items():
        yield f"  {name:20}" + _format_row(values, ("median", "p10", "p90", "lowest", "highest"))


def _format_dvh(info: CohortInfo) -> Iterator[str]:
    dvh = info.dvh()
    if dvh:
        yield f"{'Dose and volume':34}{'n':>5}{'median':>10}{'10 %':>10}{'90 %':>10}"
    for name, metrics in dvh.items():
        for metric, values in metrics.items():
            yield f"  {name:16}{metric + ', ' + values['unit']:16}" + _format_row(values, ("median", "p10", "p90"))


def _format_overlaps(info: CohortInfo) -> Iterator[str]:
    overlaps = {name: values for name, values in info.overlaps().items() if values["highest"] > 0}
    if overlaps:
        yield f"{'In the highest target, %':34}{'n':>5}{'median':>10}{'10 %':>10}{'90 %':>10}"
    for name, values in overlaps.items():
        yield f"  {name:32}" + _format_row(values, ("median", "p10", "p90"))


def _format_goals(info: CohortInfo) -> Iterator[str]:
    goals = info.goals()
    if goals:
        yield f"{'Goals':62}{'met':>6}{'missed':>8}{'other':>8}"
    for goal in goals:
        other = goal["vacuous"] + goal["not_evaluable"]
        yield f"  {goal['goal_set'] + ': ' + goal['goal']:60}{goal['met']:6}{goal['missed']:8}{other:8}"


def _format_ranges(info: CohortInfo) -> Iterator[str]:
    if info.ranges:
        yield f"{'Median beside clinical range':34}{'n':>5}{'median':>10}{'from':>10}{'to':>10}"
    for row in info.ranges:
        verdict = "" if row.within else "  OUTSIDE"
        numbers = f"{row.n:5}{row.median:10.1f}{_end(row.low)}{_end(row.high)}"
        yield f"  {row.quantity + ', ' + row.unit:32}{numbers}{verdict}"


def _end(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.1f}"


def _format_outliers(info: CohortInfo) -> Iterator[str]:
    found = info.outliers
    if found:
        yield f"Outliers ({len({outlier.key for outlier in found})} cases)"
    for outlier in found[:_MOST_OUTLIERS]:
        yield f"  {outlier.key}: {outlier.sentence}"
    if len(found) > _MOST_OUTLIERS:
        yield f"  and {len(found) - _MOST_OUTLIERS} more; --json lists all"


def _format_row(values: Mapping[str, float], names: tuple[str, ...]) -> str:
    return f"{values['n']:5.0f}" + "".join(f"{values[name]:10.2f}" for name in names)
