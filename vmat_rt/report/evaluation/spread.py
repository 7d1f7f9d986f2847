"""Figures of how metrics spread over cases: box plots, one dot per case and seed, gamma bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from vmat_rt.report.evaluation.drawing import (
    INK,
    SOFT,
    Drawing,
    Style,
    draw_legend,
    dress,
    finish,
    make_figure,
    make_model_handles,
)
from vmat_rt.report.evaluation.labels import describe_quantity, sort_metrics
from vmat_rt.report.evaluation.pooled import Model, Pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BOXES: Final = (
    "mae_gy", "mae_target_gy", "gamma_global_percent", "gamma_target_percent", "d95_gap_gy", "goals_agreement_percent",
    "openkbp_dose_score", "openkbp_dvh_score",
)  # fmt: skip
_GAMMA: Final = ("gamma_global_percent", "gamma_target_percent")
_GOAL_PERCENT: Final = 95.0
_MOST_NAMED: Final = 60
_COLUMNS: Final = 4


def draw_box_plots(pooled: Pooled, style: Style) -> Drawing | None:
    """One panel per metric: a box per model, a dot per case (its mean over seeds). None where nothing has a value."""
    metrics = [m for m in sort_metrics(pooled.metrics, _BOXES) if any(model.by_case(m) for model in pooled.models)]
    if not metrics:
        return None
    rows = math.ceil(len(metrics) / _COLUMNS)
    figure = make_figure(2.9 * rows + 0.6)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        _draw_boxes(panel, pooled.models, metric, style)
    for panel in panels[len(metrics) :]:
        panel.set_axis_off()
    draw_legend(figure, make_model_handles([model.name for model in pooled.models], style))
    caption = (
        "One dot per case (its mean over seeds). Box: quartiles and median; whiskers: the farthest case within 1.5 "
        "interquartile ranges."
    )
    return finish(figure, "box_plots", caption, style)


def _draw_boxes(panel: Axes, models: Sequence[Model], metric: str, style: Style) -> None:
    shown = [(model.name, values) for model in models if (values := list(model.by_case(metric).values()))]
    for position, (name, values) in enumerate(shown):
        colour = style.looks[name].colour
        panel.boxplot(
            [values], positions=[position], widths=0.55, showfliers=False, patch_artist=True,
            boxprops={"facecolor": f"{colour}33", "edgecolor": colour},
            medianprops={"color": INK, "linewidth": 1.6},
            whiskerprops={"color": colour}, capprops={"color": colour},
        )  # fmt: skip
        # The same scatter every time: places follow the order of the values.
        places = position + 0.18 * np.sin(2.4 * np.arange(len(values)))
        panel.scatter(places, values, s=13, color=colour, marker=style.looks[name].marker, alpha=0.8, zorder=3)
    what = describe_quantity(metric)
    dress(panel, what.label, "", what.unit or "no unit")
    panel.set_xticks([])
    panel.grid(axis="x", visible=False)
    if what.better == "zero":
        panel.axhline(0, color=SOFT, linewidth=1)


def draw_case_strip(pooled: Pooled, metric: str, style: Style) -> Drawing | None:
    """Cases side by side, worst on the left; a dot per seed, a line over its seeds. None without values."""
    by_case = {
        case: np.mean([model.by_case(metric)[case] for model in pooled.models if case in model.by_case(metric)])
        for case in {case for model in pooled.models for case in model.by_case(metric)}
    }
    if not by_case:
        return None
    what = describe_quantity(metric)
    cases = sorted(by_case, key=lambda case: (by_case[case], case), reverse=what.better == "lower")
    figure = make_figure(3.6)
    axes = figure.subplots()
    shown = [model for model in pooled.models if model.by_case(metric)]
    for number, model in enumerate(shown):
        offset = (number - (len(shown) - 1) / 2) * min(0.22, 0.7 / len(shown))
        _draw_dots(axes, model, metric, {case: position + offset for position, case in enumerate(cases)}, style)
    dress(axes, f"{what.label} by case", "", what.axis)
    axes.set_xlim(-0.7, len(cases) - 0.3)
    _name_cases(axes, cases)
    draw_legend(figure, make_model_handles([model.name for model in shown], style))
    caption = f"{what.axis}, of each case; worst on the left. One marker a seed, a line from the lowest to the highest."
    return finish(figure, f"by_case_{metric}", caption, style)


def _draw_dots(axes: Axes, model: Model, metric: str, places: dict[str, float], style: Style) -> None:
    look = style.looks[model.name]
    dots = [(case, v) for (_, case), v in sorted(model.values[metric].items()) if v is not None]
    for case in model.by_case(metric):
        own = [value for of, value in dots if of == case]
        axes.plot([places[case]] * 2, [min(own), max(own)], color=look.colour, linewidth=1, alpha=0.7)
    x, y = [places[case] for case, _ in dots], [value for _, value in dots]
    axes.scatter(x, y, s=15, color=look.colour, marker=look.marker, zorder=3)


def _name_cases(axes: Axes, cases: Sequence[str]) -> None:
    if len(cases) > _MOST_NAMED:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(cases)} cases, in this order", fontsize=8.5)
        return
    turned = len(cases) > 6
    axes.set_xticks(range(len(cases)), cases, rotation=60 if turned else 0, ha="right" if turned else "center")


def draw_gamma_bars(pooled: Pooled, focus: Model, style: Style) -> Drawing | None:
    """Pass rates by model with the interval of the mean, and by case for one model. None without gamma."""
    if not any(model.by_case(name) for model in pooled.models for name in _GAMMA):
        return None
    figure = make_figure(3.9)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.9))
    _draw_bars_by_model(left, pooled.models, style)
    _draw_bars_by_case(right, focus, style)
    caption = (
        "γ 3 % / 3 mm, global, above 10 % of the reference maximum. Full bars: body; hatched: targets; dashed: "
        f"{_GOAL_PERCENT:g} %. Error bars: SD over cases (of their seed means)."
    )
    return finish(figure, "gamma_pass_rates", caption, style)


def _draw_bars_by_model(axes: Axes, models: Sequence[Model], style: Style) -> None:
    for position, model in enumerate(models):
        for side, metric in enumerate(_GAMMA):
            values = list(model.by_case(metric).values())
            if values:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                _draw_bar(axes, position, side, float(np.mean(values)), style.looks[model.name].colour, spread)
    dress(axes, "By model", "", "points with γ ≤ 1, %")
    names = [model.name for model in models]
    axes.set_xticks(
        range(len(names)), names, rotation=25 if len(names) > 2 else 0, ha="right" if len(names) > 2 else "center"
    )
    _dress_percent_axis(axes)


def _draw_bars_by_case(axes: Axes, model: Model, style: Style) -> None:
    rates = [model.by_case(metric) for metric in _GAMMA]
    cases = sorted(rates[0] | rates[1], key=lambda case: (rates[1].get(case, rates[0].get(case, 0.0)), case))
    for position, case in enumerate(cases):
        for side, values in enumerate(rates):
            if case in values:
                _draw_bar(axes, position, side, values[case], style.looks[model.name].colour, None)
    dress(axes, f"By case: {model.name}", "", "points with γ ≤ 1, %")
    _name_cases(axes, cases)
    _dress_percent_axis(axes)


def _draw_bar(axes: Axes, position: int, side: int, height: float, colour: str, spread: float | None) -> None:
    x = position + (-0.2 if side == 0 else 0.2)
    fill = colour if side == 0 else "white"
    axes.bar(x, height, 0.36, facecolor=fill, edgecolor=colour, hatch="" if side == 0 else "////", linewidth=1)
    if spread is not None:
        upper = min(spread, 100 - height)
        axes.errorbar(x, height, [[min(spread, height)], [upper]], color=INK, capsize=3, linewidth=1.1)


def _dress_percent_axis(axes: Axes) -> None:
    axes.set_ylim(0, 103)
    axes.axhline(_GOAL_PERCENT, color=INK, linewidth=1, linestyle="--")
    axes.grid(axis="x", visible=False)
