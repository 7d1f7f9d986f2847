"""What `vmat-rt cohort info` says: of every case its record and survey, and of all together the statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from vmat_rt.case import Structure
from vmat_rt.cohort.plan_folder import PlanFolder
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.settings import CohortSettings
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.info.outliers import Outlier, collect_quantities, find_outliers
from vmat_rt.curation.info.ranges import RangeRow, tabulate_ranges
from vmat_rt.curation.info.survey import CURVE_STEP_GY, CaseSurvey, SurveyTask, survey_case
from vmat_rt.curation.intake.refusals import read_refusals
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.protocol import Protocol, load_protocol
from vmat_rt.report.colours import assign_colours
from vmat_rt.report.contact_sheet import Sheet, draw_contact_sheets
from vmat_rt.report.dvh_fan import DvhFan, draw_dvh_fan
from vmat_rt.report.figures import make_dose_wash
from vmat_rt.system.processes import WorkerDiedError, run_tasks, yield_in_order
from vmat_rt.system.publish import published_folder

SCHEMA_VERSION: Final = 1
_CURVE_END: Final = 1.3
"""Curves reach to this multiple of the highest prescription."""


@dataclass(frozen=True)
class CohortInfo:
    """records and surveys in the order of their keys. refused: studies or plans that are not in the cohort, by code."""

    settings: CohortSettings
    records: tuple[CaseRecord, ...]
    surveys: tuple[CaseSurvey, ...]
    refused: Mapping[str, int]
    outliers: tuple[Outlier, ...]
    ranges: tuple[RangeRow, ...]

    @property
    def simulated(self) -> bool:
        return self.settings.provenance.simulated or any(record.source == "simulated" for record in self.records)

    @property
    def counts(self) -> dict[str, int]:
        plans = Counter(record.plan_type for record in self.records)
        return {
            "cases": len(self.records),
            "patients": len({record.patient for record in self.records}),
            "with_dose": sum(bool(survey.curves) for survey in self.surveys),
            "sib": plans["sib"],
            "single_level": plans["single_level"],
            "nodal": sum(record.nodal for record in self.records),
            "flagged": sum(bool(record.flags) for record in self.records),
            "refused": sum(self.refused.values()),
            "damaged": sum(survey.problem is not None for survey in self.surveys),
        }

    def document(self) -> dict[str, Any]:
        """Plain values, for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "cohort": self.settings.name,
            "simulated": self.simulated,
            "counts": self.counts,
            "sources": _count_values(record.source for record in self.records),
            "flags": _count_values(flag for record in self.records for flag in record.flags),
            "warnings": _count_values(code for record in self.records for code in record.problems),
            "refused": dict(self.refused),
            "volumes_cc": self.volumes(),
            "dvh": self.dvh(),
            "overlaps_percent": self.overlaps(),
            "goals": self.goals(),
            "tabulate_ranges": [row.as_dict() for row in self.ranges],
            "outliers": [outlier.as_dict() for outlier in self.outliers],
            "problems": [survey.problem.as_dict() for survey in self.surveys if survey.problem is not None],
        }

    def volumes(self) -> dict[str, dict[str, float]]:
        """Statistics of each structure's volume as it was read, cc."""
        names = dict.fromkeys(name for record in self.records for name in record.volumes_cc)
        return {
            n: summarise_values([r.volumes_cc[n] for r in self.records if n in r.volumes_cc])
            for n in self._order_names(names)
        }

    def dvh(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return by structure and metric: the metric's unit and its statistics over the cases that have it."""
        values: dict[str, dict[str, list[float]]] = {}
        for survey in self.surveys:
            for name, metrics in survey.metrics.items():
                for metric, value in metrics.items():
                    values.setdefault(name, {}).setdefault(metric, []).append(value)
        return {
            name: {m: {"unit": parse_metric(m).unit, **summarise_values(v)} for m, v in values[name].items()}
            for name in self._order_names(values)
        }

    def overlaps(self) -> dict[str, dict[str, float]]:
        """Percent of each organ within the highest-dose target."""
        names = dict.fromkeys(name for survey in self.surveys for name in survey.overlaps)
        return {
            n: summarise_values([s.overlaps[n] for s in self.surveys if n in s.overlaps])
            for n in self._order_names(names)
        }

    def goals(self) -> list[dict[str, Any]]:
        """How many cases met each goal, as it is stated; those that it does not concern are not counted as missed."""
        tally: dict[tuple[str, str], Counter[str]] = {}
        for survey in self.surveys:
            for goal, status in survey.goals.items():
                tally.setdefault(goal, Counter())[status] += 1
        keys = ("met", "missed", "vacuous", "not evaluable")
        return [
            {"goal_set": name, "goal": goal, **{key.replace(" ", "_"): count[key] for key in keys}}
            for (name, goal), count in tally.items()
        ]

    def _order_names(self, names: Iterable[str]) -> list[str]:
        """Put names in the order of the cohort's protocol; those it does not know come last."""
        order = {spec.name: i for i, spec in enumerate(load_protocol(self.settings.protocol).structures)}
        return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def summarise_values(values: Sequence[float]) -> dict[str, float]:
    """Number, median, tenth and ninetieth percentile, lowest and highest."""
    low, p10, median, p90, high = np.percentile(values, (0, 10, 50, 90, 100)).tolist()
    return {"n": len(values), "median": median, "p10": p10, "p90": p90, "lowest": low, "highest": high}


def describe_cohort(cohort: Cohort, out: Path | None = None, workers: int = 2, progress: bool = True) -> CohortInfo:
    """Examine every case by `workers` processes; with `out`, write contact_sheet_N.png and dvh_fan.png into it.

    Raises ConfigError when workers is not a positive number, InputError when `out` cannot be written (an older folder
    of this name is replaced as a whole) or a record is damaged. A case whose arrays are damaged is named in the result.
    """
    if workers < 1:
        raise ConfigError(f"{workers} processes cannot examine a cohort: it takes 1 or more")
    records = cohort.records()
    surveys = _survey_cases(_make_tasks(cohort, records, out is not None), workers, progress)
    info = CohortInfo(
        settings=cohort.settings,
        records=records,
        surveys=surveys,
        refused=_count_refused(cohort),
        outliers=find_outliers(collect_quantities(records, surveys)),
        ranges=tabulate_ranges([s.metrics for s in surveys], load_protocol(cohort.settings.protocol)),
    )
    if out is not None:
        with published_folder(out) as folder:
            write_figures(info, folder)
    return info


def _make_tasks(cohort: Cohort, records: Sequence[CaseRecord], with_tiles: bool) -> list[SurveyTask]:
    highest = max((dose for record in records for dose in record.prescription.values()), default=0.0)
    levels = int(np.ceil(_CURVE_END * highest / CURVE_STEP_GY)) + 1
    return [SurveyTask(cohort.place.root, record.key, levels, with_tiles) for record in records]


def _survey_cases(tasks: Sequence[SurveyTask], workers: int, progress: bool) -> tuple[CaseSurvey, ...]:
    """Survey cases in the order of the tasks. A case over which its worker died is one that could not be read."""
    surveys = []
    with tqdm(total=len(tasks), unit="case", disable=None if progress else True) as bar:
        for case in yield_in_order(run_tasks(survey_case, tasks, workers, queued=workers)):
            if isinstance(case.error, WorkerDiedError):
                key = case.task.key
                surveys.append(CaseSurvey.unread(key, case.error.of(key).problems[0]))
            else:
                surveys.append(case.result())
            bar.update()
    return tuple(surveys)


def _count_refused(cohort: Cohort) -> dict[str, int]:
    counts = Counter(code for r in read_refusals(cohort.place).values() for code in {p.code for p in r.problems})
    plans = len(PlanFolder.of(cohort.place).refused())
    return dict(counts.most_common()) | ({"PLAN_NOT_ACCEPTED": plans} if plans else {})


def write_figures(info: CohortInfo, folder: Path) -> tuple[Path, ...]:
    """contact_sheet_1.png and so on, and dvh_fan.png where there are doses."""
    protocol = load_protocol(info.settings.protocol)
    levels = sorted({gy for record in info.records for gy in record.prescription.values()})
    colours = _choose_colours(protocol)
    highest_gy = max((survey.dose_gy for survey in info.surveys), default=0.0)
    tiles = [survey.tile for survey in info.surveys if survey.tile is not None]
    paths = []
    if tiles:
        by_name = {f"{gy:g}": gy for gy in levels}
        wash = replace(make_dose_wash(by_name, highest_gy), marks={gy: f"{gy:g} Gy" for gy in levels})
        sheet = Sheet(f"Cohort {info.settings.name}", info.simulated, wash, colours)
        for number, page in enumerate(draw_contact_sheets(tiles, sheet), 1):
            paths.append(folder / f"contact_sheet_{number}.png")
            paths[-1].write_bytes(page)
    fans = _make_fans(info, colours, highest_gy)
    if fans:
        paths.append(folder / "dvh_fan.png")
        title = f"Cohort {info.settings.name}, {info.counts['with_dose']} cases"
        paths[-1].write_bytes(draw_dvh_fan(fans, levels, title, info.simulated))
    return tuple(paths)


def _choose_colours(protocol: Protocol) -> dict[str, str]:
    """Choose colours by TG-263 name, without the body."""
    structures = [Structure(s.name, s.name, None) for r in ("target", "oar") for s in protocol.with_role(r)]
    return assign_colours(structures, protocol)


def _make_fans(info: CohortInfo, colours: Mapping[str, str], highest_gy: float) -> list[DvhFan]:
    fans = []
    for name, colour in colours.items():
        curves = [survey.curves[name] for survey in info.surveys if name in survey.curves]
        if curves:
            shown = min(len(curves[0]), int(np.ceil(highest_gy / CURVE_STEP_GY)) + 2)
            doses = CURVE_STEP_GY * np.arange(shown, dtype=np.float64)
            fans.append(DvhFan(name, colour, doses, np.stack(curves)[:, :shown]))
    return fans


def _count_values(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
