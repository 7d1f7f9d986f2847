"""DVH fan of a cohort: for each structure the median curve, where 80 % of the cases lie, and where all of them do."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS: Final = 4
_PANEL_INCHES: Final = (3.0, 2.35)
_HEAD_INCHES: Final = 0.5
_LEAST_INCHES: Final = 6.5
_DPI: Final = 140
_INK: Final = "#1c2733"
_GREY: Final = "#5b6875"
_ORANGE: Final = "#b35c00"
SIMULATED: Final = "SIMULATED patients and doses"


@dataclass(frozen=True)
class DvhFan:
    """The curves of one structure: percent (case, level) of its volume that gets at least doses_gy (level,)."""

    name: str
    colour: str
    doses_gy: NDArray[np.float64]
    percent: NDArray[np.float32]


def compute_quantiles(fan: DvhFan) -> Mapping[str, NDArray[np.float64]]:
    """Curves (level,) by name: lowest, tenth, median, ninetieth and highest of the cases at each dose."""
    names = {"lowest": 0, "tenth": 10, "median": 50, "ninetieth": 90, "highest": 100}
    curves = np.percentile(fan.percent, list(names.values()), axis=0)
    return dict(zip(names, curves, strict=True))


def draw_dvh_fan(fans: Sequence[DvhFan], prescription_gy: Sequence[float], title: str, simulated: bool) -> bytes:
    """PNG with one panel per structure; dotted lines stand at the prescribed doses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(_COLUMNS, len(fans)) or 1
    rows = math.ceil(len(fans) / columns) or 1
    width, height = columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1] + _HEAD_INCHES
    figure = Figure(figsize=(max(width, _LEAST_INCHES), height), dpi=_DPI, facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.0, 0.0, 1.0, 1 - _HEAD_INCHES / height)))
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for index, (axes, fan) in enumerate(zip(panels, fans, strict=False)):
        _draw(axes, fan, prescription_gy)
        axes.set_ylabel("Volume, %" if index % columns == 0 else "", fontsize=8.5)
        below = index + columns < len(fans)
        axes.set_xlabel("" if below else "Dose, Gy", fontsize=8.5)
        axes.tick_params(labelbottom=not below)
    for axes in panels[len(fans) :]:
        axes.set_axis_off()
    _draw_head(figure, title, simulated)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()


def _draw_head(figure: Figure, title: str, simulated: bool) -> None:
    width, height = figure.get_size_inches().tolist()
    left, right = 0.1 / width, 1 - 0.1 / width
    bold: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "va": "top"}
    figure.text(left, 1 - 0.08 / height, title, color=_INK, **bold)
    if simulated:
        figure.text(right, 1 - 0.08 / height, SIMULATED, color=_ORANGE, ha="right", **bold)
    legend = "line: median; dark band: 10-90 % of the cases; light band: all cases; dotted: prescribed doses"
    figure.text(left, 1 - 0.3 / height, legend, color=_GREY, fontsize=8.5, va="top")


def _draw(axes: Axes, fan: DvhFan, prescription_gy: Sequence[float]) -> None:
    curves = compute_quantiles(fan)
    axes.fill_between(fan.doses_gy, curves["lowest"], curves["highest"], color=fan.colour, alpha=0.18, linewidth=0)
    axes.fill_between(fan.doses_gy, curves["tenth"], curves["ninetieth"], color=fan.colour, alpha=0.38, linewidth=0)
    axes.plot(fan.doses_gy, curves["median"], color=fan.colour, linewidth=1.8)
    for level in prescription_gy:
        axes.axvline(level, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_title(f"{fan.name}  (n = {len(fan.percent)})", fontsize=9, color=_INK)
    axes.set_xlim(0, float(fan.doses_gy[-1]))
    axes.set_ylim(0, 102)
    axes.grid(color="#e3e8ed", linewidth=0.6)
    axes.tick_params(labelsize=8, colors=_INK)
