"""Training curves: loss and validation metrics by epoch, a line a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vmat_rt.report.evaluation.drawing import DASHES, PALETTE, Drawing, Style, draw_legend, dress, finish, make_figure
from vmat_rt.report.evaluation.labels import describe_quantity
from vmat_rt.report.evaluation.pooled import order_seeds
from vmat_rt.report.evaluation.runs import RunRecord, label_recipes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS: Final = ("loss", "mae_gy", "d95_abs_gap_gy", "openkbp_dose_score", "openkbp_dvh_score", "lr")
_TITLES: Final = {
    "loss": ("Training loss", "weighted sum of terms, no unit"),
    "mae_gy": ("Validation MAE", "MAE, body, Gy"),
    "d95_abs_gap_gy": ("Validation |D95% gap|", "mean over targets, Gy"),
    "lr": ("Learning rate", "learning rate, no unit"),
}
_LOGARITHMIC: Final = {"loss", "lr"}
_COLUMNS: Final = 3
_MOST_IN_A_ROW: Final = 4


def draw_training_curves(runs: Sequence[RunRecord], style: Style) -> Drawing | None:
    """Colour by recipe, line style by seed. None where no run has noted an epoch."""
    with_history = sorted((run for run in runs if run.history), key=lambda run: (run.name, order_seeds(run.seed)))
    panels = [name for name in _PANELS if any(name in row for run in with_history for row in run.history)]
    if not panels:
        return None
    columns = len(panels) if len(panels) <= _MOST_IN_A_ROW else _COLUMNS
    rows = math.ceil(len(panels) / columns)
    figure = make_figure(2.9 * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    labels = label_recipes(with_history)
    names = list(dict.fromkeys(labels))
    seeds = sorted({run.seed for run in with_history}, key=order_seeds)
    handles = []
    for run, label in zip(with_history, labels, strict=True):
        look = _Look(PALETTE[names.index(label) % len(PALETTE)], DASHES[seeds.index(run.seed) % len(DASHES)])
        name_of_run = f"{label}, seed {run.seed}"
        drawn = [_draw_line(panel, run, name, name_of_run, look) for panel, name in zip(axes, panels, strict=False)]
        handles.append(drawn[0])
    for panel, name in zip(axes, panels, strict=False):
        title, unit = _TITLES.get(name, (f"Validation {describe_quantity(name).label}", describe_quantity(name).axis))
        dress(panel, title, "epoch", unit)
        if name in _LOGARITHMIC and all(row.get(name, 1) > 0 for run in with_history for row in run.history):
            panel.set_yscale("log")
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    draw_legend(figure, handles)
    return finish(figure, "training_curves", "Training by epoch: colour by recipe, line style by seed.", style)


@dataclass(frozen=True)
class _Look:
    colour: str
    dashes: str


def _draw_line(panel: Axes, run: RunRecord, name: str, label: str, look: _Look) -> object:
    points = [(row["epoch"] + 1, row[name]) for row in run.history if name in row and "epoch" in row]
    x, y = zip(*points, strict=True) if points else ((), ())
    alone = "o" if len(points) == 1 else ""
    return panel.plot(x, y, color=look.colour, linestyle=look.dashes, marker=alone, linewidth=1.5, label=label)[0]
