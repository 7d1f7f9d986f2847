"""Drawing: one figure as PNG and PDF, and the style that all of them share. Matplotlib's object API, no pyplot."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vmat_rt.report.schema import NOTICE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1c2733"
SOFT: Final = "#5b6875"
GRID: Final = "#e3e8ed"
DANGER: Final = "#8f1d1d"
SAID: Final = "#b35c00"
BASELINE: Final = "#8a949e"
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers tell apart (jfly.uni-koeln.de/color); yellow is left out: too
faint on white."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
DASHES: Final = ("-", "--", ":", "-.")
WIDTH_INCHES: Final = 10.6
_DPI: Final = 130
_FOOT_INCHES: Final = 0.3


@dataclass(frozen=True)
class Drawing:
    """One figure. name is that of its files; caption says what is to be seen, with units."""

    name: str
    caption: str
    png: bytes
    pdf: bytes
    size: tuple[int, int]

    @property
    def data(self) -> str:
        """The PNG for a data URL."""
        return base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Look:
    """How a model is drawn, the same in every figure."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Style:
    """looks by model's name; simulated puts its word into every figure, which may be taken out of the report."""

    looks: Mapping[str, Look]
    simulated: str


def choose_looks(names: Sequence[str], baselines: frozenset[str]) -> dict[str, Look]:
    """Colours and markers in the order of the models; baselines are grey."""
    models = [name for name in names if name not in baselines]
    looks = {name: Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(models)}
    grey = {n: Look(BASELINE, MARKERS[-1 - i % 2]) for i, n in enumerate(name for name in names if name in baselines)}
    return {**looks, **grey}


def make_figure(height_inches: float, width_inches: float = WIDTH_INCHES) -> Figure:
    """An empty white figure whose foot is kept free for what every figure says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width_inches, height_inches), dpi=_DPI, facecolor="white")
    foot = _FOOT_INCHES / height_inches
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.0, foot, 1.0, 1 - foot), w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, name: str, caption: str, style: Style) -> Drawing:
    """Write the foot and both formats. The files hold no time, so that equal reports are equal."""
    from matplotlib.colors import to_rgb

    width, height = figure.get_size_inches().tolist()
    y = 0.1 / height
    dark = to_rgb(figure.get_facecolor())[0] < 0.5
    foot: dict[str, Any] = {"fontsize": 7.5, "fontweight": "bold", "va": "bottom"}
    figure.text(0.08 / width, y, NOTICE, color="#ff9d8a" if dark else DANGER, **foot)
    if style.simulated:
        figure.text(1 - 0.08 / width, y, style.simulated, color="#ffb000" if dark else SAID, ha="right", **foot)
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    plain = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}
    figure.savefig(pdf, format="pdf", facecolor=figure.get_facecolor(), metadata=plain)
    return Drawing(name, caption, png.getvalue(), pdf.getvalue(), (round(width * _DPI), round(height * _DPI)))


def dress(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Titles, labels with their units, and a faint grid behind."""
    axes.set_title(title, fontsize=9.5, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel(x, fontsize=8.5, color=INK)
    axes.set_ylabel(y, fontsize=8.5, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)


def draw_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Draw it above all panels, in as many columns as the longest text leaves room for."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_size_inches()[0] / (0.085 * longest + 0.65))
    columns = max(1, min(len(handles), fitting))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5)


def make_model_handles(names: Sequence[str], style: Style) -> list[Any]:
    """Legend entries: the marker of each model."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linestyle="", color=style.looks[n].colour, marker=style.looks[n].marker, label=n) for n in names
    ]
