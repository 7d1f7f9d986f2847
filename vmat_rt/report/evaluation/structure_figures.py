"""Figures by structure: DVH points predicted against reference, gaps of all structures, left against right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vmat_rt.report.evaluation.drawing import (
    INK,
    PALETTE,
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

_ROW_INCHES: Final = 0.3
_POINTS: Final = (("D95%", "target"), ("Dmean", "oar"), ("D0.03cc", "oar"))


def draw_dvh_points(model: Model, style: Style) -> Drawing | None:
    """D95% of targets, Dmean and D0.03cc of organs: a point per case, seed and structure. None without documents."""
    found = [
        (name, role, structure)
        for name, role in _POINTS
        for document in model.documents.values()
        for structure in document.structures
        if structure.role == role and structure.predicted.get(name) is not None
    ]
    if not found:
        return None
    figure = make_figure(4.1)
    for axes, (metric, role) in zip(figure.subplots(1, 3), _POINTS, strict=True):
        points: dict[str, list[tuple[float, float]]] = {}
        for name, of, structure in found:
            x, y = structure.reference.get(name), structure.predicted.get(name)
            if (name, of) == (metric, role) and x is not None and y is not None:
                points.setdefault(structure.name, []).append((x, y))
        _draw_scatter(axes, points)
        kind = "targets" if role == "target" else "organs"
        dress(axes, f"{metric}, {kind}", "reference, Gy", "predicted, Gy")
    caption = f"{model.name}: one point per case, seed and structure; on the line both doses agree."
    return finish(figure, "dvh_points", caption, style)


def _draw_scatter(axes: Axes, points: dict[str, list[tuple[float, float]]]) -> None:
    for number, (name, pairs) in enumerate(points.items()):
        x, y = zip(*pairs, strict=True)
        colour, marker = PALETTE[number % len(PALETTE)], "osD^vPX*"[number % 8]
        axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.75, label=name, linewidths=0)
    every = [value for pairs in points.values() for pair in pairs for value in pair]
    if every:
        margin = 0.05 * (max(every) - min(every)) + 0.5
        ends = min(every) - margin, max(every) + margin
        axes.plot(ends, ends, color=SOFT, linewidth=1, zorder=0)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.legend(fontsize=7, frameon=False, handletextpad=0.1, labelspacing=0.25)
    axes.set_aspect("equal", adjustable="box")


def draw_structure_gaps(pooled: Pooled, style: Style) -> Drawing | None:
    """Dmean and D0.03cc, predicted minus reference, for every structure and model: median, quartiles, range."""
    names = ("mean_gap_gy", "near_max_gap_gy")
    structures = list(dict.fromkeys(m.partition(":")[2] for m in sort_metrics(pooled.metrics, names)))
    if not structures:
        return None
    figure = make_figure(_ROW_INCHES * len(structures) * max(1.0, 0.45 * len(pooled.models)) + 1.4)
    for axes, name in zip(figure.subplots(1, 2, sharey=True), names, strict=True):
        _draw_gap_rows(axes, pooled, name, structures, style)
        dress(axes, describe_quantity(name).label, "predicted − reference, Gy", "")
        axes.axvline(0, color=INK, linewidth=1)
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(structures)), structures)
        axes.set_ylim(len(structures) - 0.5, -0.5)
    draw_legend(figure, make_model_handles([model.name for model in pooled.models], style))
    caption = "Over cases (of their seed means): marker median, thick line quartiles, thin line all cases."
    return finish(figure, "structure_gaps", caption, style)


def _draw_gap_rows(axes: Axes, pooled: Pooled, name: str, structures: Sequence[str], style: Style) -> None:
    step = 0.75 / len(pooled.models)
    for number, model in enumerate(pooled.models):
        look = style.looks[model.name]
        for row, structure in enumerate(structures):
            values = list(model.by_case(f"{name}:{structure}").values())
            if not values:
                continue
            y = row + (number - (len(pooled.models) - 1) / 2) * step
            low, first, middle, third, high = np.percentile(values, [0, 25, 50, 75, 100])
            axes.plot([low, high], [y, y], color=look.colour, linewidth=0.9, alpha=0.8)
            axes.plot([first, third], [y, y], color=look.colour, linewidth=3.2, solid_capstyle="butt")
            axes.scatter([middle], [y], s=20, color=look.colour, marker=look.marker, zorder=3)


def draw_asymmetry(pooled: Pooled, style: Style) -> Drawing | None:
    """Left minus right mean dose in both doses, one panel per pair. None where no case has a pair."""
    prefix = "asymmetry_gy:"
    pairs = [metric.removeprefix(prefix) for metric in pooled.metrics if metric.startswith(prefix)]
    if not pairs:
        return None
    figure = make_figure(4.0, width_inches=min(10.6, 3.6 * len(pairs) + 1.2))
    for axes, pair in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        ends: list[float] = [1.0]
        for model in pooled.models:
            ends += _draw_pair_points(axes, model, pair, style)
        end = 1.08 * max(ends)
        axes.plot([-end, end], [-end, end], color=SOFT, linewidth=1, zorder=0)
        for line in (axes.axhline, axes.axvline):
            line(0, color=SOFT, linewidth=0.8)
        axes.set_xlim(-end, end)
        axes.set_ylim(-end, end)
        axes.set_aspect("equal", adjustable="box")
        dress(axes, pair, "reference: Dmean left − right, Gy", "predicted: Dmean left − right, Gy")
    draw_legend(figure, make_model_handles([model.name for model in pooled.models], style))
    caption = (
        "A marker a case and seed. On the diagonal the prediction is as lopsided as the reference; on the horizontal "
        "line it is symmetric whatever the reference does, which tells of a model that ignores the beams."
    )
    return finish(figure, "asymmetry", caption, style)


def _draw_pair_points(axes: Axes, model: Model, pair: str, style: Style) -> list[float]:
    predicted: dict[Any, float | None] = dict(model.values.get(f"asymmetry_gy:{pair}", {}))
    reference = model.values.get(f"asymmetry_reference_gy:{pair}", {})
    points = [(x, y) for key, x in reference.items() if x is not None and (y := predicted.get(key)) is not None]
    if not points:
        return []
    look = style.looks[model.name]
    across, up = zip(*points, strict=True)
    axes.scatter(across, up, s=20, color=look.colour, marker=look.marker, alpha=0.8, linewidths=0)
    return [abs(value) for point in points for value in point]
