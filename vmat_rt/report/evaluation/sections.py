"""The sections of the page, in order: what each one shows, and the sentence where there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from vmat_rt.bundle import Bundle
from vmat_rt.report.evaluation.case_tables import (
    FEWEST_FOR_FENCES,
    tabulate_clinical,
    tabulate_failures,
    tabulate_outliers,
    tabulate_recurring,
)
from vmat_rt.report.evaluation.curves import draw_training_curves
from vmat_rt.report.evaluation.drawing import Drawing, Style, choose_looks
from vmat_rt.report.evaluation.exemplars import Exemplar, draw_dose_pictures, draw_dvh_figure, draw_gamma_map
from vmat_rt.report.evaluation.goal_map import build_goal_map, draw_goal_map
from vmat_rt.report.evaluation.pooled import Model, Pooled
from vmat_rt.report.evaluation.provenance import (
    list_limitations,
    tabulate_configuration,
    tabulate_data,
    tabulate_environment,
    tabulate_models,
    tabulate_splits,
)
from vmat_rt.report.evaluation.runs import RunRecord
from vmat_rt.report.evaluation.spread import draw_box_plots, draw_case_strip, draw_gamma_bars
from vmat_rt.report.evaluation.structure_figures import draw_asymmetry, draw_dvh_points, draw_structure_gaps
from vmat_rt.report.evaluation.tables import (
    Table,
    compare_models,
    tabulate_comparison,
    tabulate_goals,
    tabulate_seeds,
    tabulate_structures,
)

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class ReportMaterial:
    """All that the report is made of. focus is the model that pictures show; no_pictures says why there are none.

    bundles: by SHA-256 of their identity; splits: seed -> part -> number of cases, of the cohort where it is known.
    """

    pooled: Pooled
    focus: Model
    runs: tuple[RunRecord, ...] = ()
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()
    no_pictures: str = ""

    @property
    def style(self) -> Style:
        models = self.pooled.models
        baselines = frozenset(model.name for model in models if model.is_baseline)
        return Style(choose_looks([model.name for model in models], baselines), self.simulated)

    @property
    def simulated(self) -> str:
        """The notice that goes with all numbers; empty where all data are of patients."""
        cohorts = {e.aggregate.cohort.name: e.aggregate.cohort.simulated for e in self.pooled.evaluations}
        if all(cohorts.values()):
            return "SIMULATED patients and doses"
        names = [name for name, simulated in cohorts.items() if simulated]
        return f"SIMULATED in part: cohort {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class Section:
    """One section. absent is the sentence that stands where there is nothing to show; items: lists under a heading."""

    name: str
    title: str
    lead: str = ""
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    absent: tuple[str, ...] = ()
    items: Mapping[str, list[str]] = field(default_factory=dict)
    numbers: bool = True


def write_sections(material: ReportMaterial) -> tuple[Section, ...]:
    """All of them; the order of the reference notebook."""
    return (
        _write_results(material),
        _write_training(material),
        _write_doses(material),
        _write_dvh(material),
        _write_gamma(material),
        _write_cases(material),
        _write_goals(material),
        _write_asymmetry(material),
        _write_recurring(material),
        _write_outliers(material),
        _write_comparison(material),
        *_write_clinical(material),
        _write_provenance(material),
        _write_limitations(material),
        _write_definitions(material),
    )


def _write_results(material: ReportMaterial) -> Section:
    seeds = max(len(model.seeds) for model in material.pooled.models)
    absent = () if seeds > 1 else ("No model has more than one seed here: how much seeds scatter is not known.",)
    return Section("results", "Results over seeds", tables=(tabulate_seeds(material.pooled),), absent=absent)


def _write_training(material: ReportMaterial) -> Section:
    drawing = draw_training_curves(material.runs, material.style)
    absent = "No training run was given, so there are no curves: name run folders with --run."
    if material.runs:
        absent = "The runs have no epochs in their metrics.csv yet."
    return _show("training", "Training curves", (drawing,), absent)


def _write_doses(material: ReportMaterial) -> Section:
    lead = f"Best, median and worst prediction of {material.focus.name} by MAE in the body."
    drawings = tuple(draw_dose_pictures(exemplar, material.style) for exemplar in material.exemplars)
    absent = (material.no_pictures,) if material.no_pictures else ()
    return Section("doses", "Dose on CT, and difference maps", lead if drawings else "", drawings, absent=absent)


def _write_dvh(material: ReportMaterial) -> Section:
    absent = []
    curves = draw_dvh_figure(material.exemplars, material.style) if material.exemplars else None
    if curves is None:
        absent.append("No DVH curves: they need the doses of the exemplary cases (see Dose on CT).")
    points = draw_dvh_points(material.focus, material.style)
    if points is None:
        absent.append("No DVH points: the evaluation's cases/ are not there.")
    gaps, table = draw_structure_gaps(material.pooled, material.style), tabulate_structures(material.pooled)
    return Section(
        "dvh",
        "DVH, predicted against reference",
        "",
        _drop_absent(curves, points, gaps),
        _drop_absent(table),
        tuple(absent),
    )


def _write_gamma(material: ReportMaterial) -> Section:
    absent = []
    bars = draw_gamma_bars(material.pooled, material.focus, material.style)
    if bars is None:
        absent.append("No pass rates: the models were evaluated with --no-gamma.")
    maps = [draw_gamma_map(exemplar, material.style) for exemplar in material.exemplars]
    if not maps:
        absent.append("No gamma map: it needs the doses of the exemplary cases (see Dose on CT).")
    return Section("gamma", "Gamma", "", _drop_absent(bars, *maps), absent=tuple(absent))


def _write_cases(material: ReportMaterial) -> Section:
    drawings = [draw_box_plots(material.pooled, material.style)]
    drawings += [draw_case_strip(material.pooled, metric, material.style) for metric in ("mae_gy", "openkbp_dvh_score")]
    return _show("cases", "Spread over cases", drawings, "No metric has a value in any case.")


def _write_goals(material: ReportMaterial) -> Section:
    maps = [goals for model in material.pooled.models if (goals := build_goal_map(model)) is not None]
    if not maps:
        absent = "No planning goal was evaluated: the protocol has none, or the evaluation's cases/ are not there."
        return Section("goals", "Goal compliance", absent=(absent,))
    drawings = tuple(
        draw_goal_map(goals, f"goals_{number}", material.style) for number, goals in enumerate(maps, start=1)
    )
    lead = (
        "A false pass is the error that matters: the prediction meets a goal that the reference dose misses. "
        "Goals are evaluated for each case's fractionation."
    )
    return Section("goals", "Goal compliance", lead, drawings, (tabulate_goals(maps),))


def _write_asymmetry(material: ReportMaterial) -> Section:
    absent = "No case has a left and a right structure that a protocol knows as a pair."
    return _show("asymmetry", "Left and right", (draw_asymmetry(material.pooled, material.style),), absent)


def _write_recurring(material: ReportMaterial) -> Section:
    tables = _drop_absent(*(tabulate_recurring(model) for model in material.pooled.models))
    absent = () if tables else ("No case was evaluated for more than one seed of a model.",)
    return Section("recurring", "Cases that recur across seeds", tables=tables, absent=absent)


def _write_outliers(material: ReportMaterial) -> Section:
    outliers, failures = tabulate_outliers(material.pooled), tabulate_failures(material.pooled)
    absent = []
    if outliers is None:
        absent.append(f"Fewer than {FEWEST_FOR_FENCES} cases with a value: no fences can be drawn.")
    elif not outliers.rows:
        absent.append("No case lies beyond Tukey's fences (1.5 interquartile ranges).")
        outliers = None
    if failures is None:
        absent.append("Every case gave a result.")
    return Section("outliers", "Outliers and failures", "", (), _drop_absent(outliers, failures), tuple(absent))


def _write_comparison(material: ReportMaterial) -> Section:
    comparison = compare_models(material.pooled)
    if comparison is None:
        return Section("comparison", "Comparison of models", absent=("One model alone is described, not tested.",))
    notes = [f"{note}." for note in comparison.notes]
    lead = f"Every model against {comparison.baseline}, the first that was given."
    return Section("comparison", "Comparison of models", lead, (), (tabulate_comparison(comparison),), tuple(notes))


def _write_clinical(material: ReportMaterial) -> tuple[Section, ...]:
    """Write the section where an evaluation asked for it."""
    table = tabulate_clinical(material.pooled)
    if table is None:
        return ()
    judged = [each.clinical.in_words() for each in material.pooled.evaluations if each.clinical is not None]
    tables = (table,) if table.rows else ()
    return (Section("clinical", "Plans worse than predicted", tables=tables, absent=tuple(judged)),)


def _write_provenance(material: ReportMaterial) -> Section:
    runs = material.runs
    tables = _drop_absent(
        tabulate_data(material.pooled),
        tabulate_models(material.pooled, material.bundles),
        tabulate_splits(runs, material.splits),
        tabulate_configuration(runs),
        tabulate_environment(runs),
    )
    absent = () if runs else ("No training run was given: recipes and machines are not shown (--run).",)
    return Section("provenance", "Data, splits, models and configuration", "", (), tables, absent)


def _write_limitations(material: ReportMaterial) -> Section:
    items = {name: limits for name, limits in list_limitations(material.pooled, material.bundles).items() if limits}
    unknown = [
        model.name
        for model in material.pooled.models
        if not any(subject.sha256 in material.bundles for subject in model.subjects.values())
    ]
    absent = [f"The model card of {name} is not at hand: name its run with --run." for name in unknown]
    lead = "A predicted dose is what planning would probably reach. It is not a plan and cannot be delivered."
    if material.simulated:
        lead += (
            " Patients and doses are simulated: these numbers rank models and show that the software works. They say "
            "nothing of how well a model predicts doses of patients."
        )
    return Section("limitations", "Limitations", lead, absent=tuple(absent), items=items, numbers=False)


def _write_definitions(material: ReportMaterial) -> Section:
    texts: dict[str, str] = {}
    for evaluation in material.pooled.evaluations:
        texts |= evaluation.aggregate.metric_definitions
    rows = tuple(texts.items())
    table = Table("As vmat-rt evaluate measures them.", ("Name in results.csv", "Meaning"), rows, names=2)
    return Section("definitions", "Definitions", tables=(table,) if rows else (), numbers=False)


def _show(name: str, title: str, drawings: Iterable[Drawing | None], absent: str) -> Section:
    shown = _drop_absent(*drawings)
    return Section(name, title, "", shown, absent=() if shown else (absent,))


def _drop_absent(*things: Thing | None) -> tuple[Thing, ...]:
    return tuple(thing for thing in things if thing is not None)
