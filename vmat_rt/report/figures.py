"""Colourwash pictures: CT, dose and structure outlines on three planes, as PNG. Matplotlib's object API, no pyplot.

Pictures are in radiological convention: the patient's right is on the left of axial and coronal views; sagittal views
have the front on the left. Letters at the edges name the directions of the patient, whatever the position on the couch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vmat_rt.case import FloatArray, Volume
from vmat_rt.report.planes import NORMAL_AXIS, Plane, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HU_WINDOW = (-160.0, 240.0)
_LETTERS: Mapping[View, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "H", "F"),
    "sagittal": ("A", "P", "H", "F"),
}
"""Left, right, top and bottom of each view."""
_WIDTH_INCHES = 11.6
_BAR_INCHES = 1.15
_GAP_INCHES = 0.05
_DPI = 140
_ALPHA = 0.45
_FAINT_BELOW = 0.15
_TEXT = "#e8edf2"


@dataclass(frozen=True)
class Wash:
    """How a dose is coloured. range_gy are the ends of the colour bar; marks are labelled levels on it, Gy.

    Magnitudes below faint_below_gy fade into the CT, which is bare at 0. isodoses_gy are drawn as lines.
    """

    colours: str
    range_gy: tuple[float, float]
    faint_below_gy: float
    marks: Mapping[float, str]
    isodoses_gy: Sequence[float] = ()


def make_dose_wash(prescription_gy: Mapping[str, float], highest_gy: float) -> Wash:
    """Colours for a dose: the bar ends at the larger of 107 % of the prescription and what occurs."""
    top = max(prescription_gy.values())
    by_level: dict[float, list[str]] = {}
    for name, dose in prescription_gy.items():
        by_level.setdefault(dose, []).append(name)
    marks = {dose: f"{dose:g} {names[0]}" for dose, names in by_level.items()}
    isodoses = tuple(0.95 * dose for dose in sorted(by_level))
    return Wash("turbo", (0.0, max(1.07 * top, highest_gy)), _FAINT_BELOW * top, marks, isodoses)


def make_difference_wash(prescription_gy: Mapping[str, float]) -> Wash:
    """Colours for predicted minus other dose: blue below, red above, the bar's ends at 15 % of the prescription."""
    end = 0.15 * max(prescription_gy.values())
    return Wash("RdBu_r", (-end, end), end / 3, {})


def draw_row(
    planes: Sequence[Plane], pictures: Sequence[FloatArray], wash: Wash, colours: Mapping[str, str]
) -> tuple[bytes, tuple[int, int]]:
    """One row of the three planes with a colour bar. Returns the PNG and its (width, height) in pixels.

    pictures are the dose (down, across) on each plane, Gy, NaN where there is none; colours are by ROI name;
    a structure without one is not outlined.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    aspects = [_measure_extent_mm(plane)[1] / _measure_extent_mm(plane)[0] for plane in planes]
    free = _WIDTH_INCHES - _BAR_INCHES - _GAP_INCHES * len(planes)
    height = min(free / sum(aspects), 5.0)
    width = height * sum(aspects) + _BAR_INCHES + _GAP_INCHES * len(planes)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="black")
    FigureCanvasAgg(figure)
    left = 0.0
    for plane, picture, aspect in zip(planes, pictures, aspects, strict=True):
        axes = figure.add_axes((left / width, 0.0, height * aspect / width, 1.0))
        draw_plane(axes, plane, picture, wash)
        draw_outlines(axes, plane, colours)
        label_plane(axes, plane)
        left += height * aspect + _GAP_INCHES
    bar = figure.add_axes(((left + 0.12) / width, 0.08, 0.16 / width, 0.80))
    draw_bar(figure, bar, wash)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="black", pil_kwargs={"compress_level": 1})
    return buffer.getvalue(), (round(width * _DPI), round(height * _DPI))


def _measure_extent_mm(plane: Plane) -> tuple[float, float]:
    """Height and width of the picture, mm."""
    low, high = plane.ct.grid.bounds_mm
    down, across = plane.axes
    return high[down] - low[down], high[across] - low[across]


def _measure_image_extent(plane: Plane, volume: Volume) -> tuple[float, float, float, float]:
    """Matplotlib's (left, right, bottom, top) for a picture whose rows run down in y, or up in z."""
    low, high = volume.grid.bounds_mm
    down, across = plane.axes
    return low[across], high[across], low[down], high[down]


def draw_plane(axes: Axes, plane: Plane, picture: FloatArray, wash: Wash) -> None:
    """CT in grey, the dose over it, isodoses as lines."""
    axes.set_axis_off()
    axes.imshow(
        plane.flat(plane.ct),
        cmap="gray",
        vmin=HU_WINDOW[0],
        vmax=HU_WINDOW[1],
        origin="lower",
        extent=_measure_image_extent(plane, plane.ct),
        aspect="auto",
        interpolation="bilinear",
    )
    extent = _measure_image_extent(plane, Volume(plane.grid, np.zeros(plane.grid.shape, np.float32)))
    strength = np.clip(np.nan_to_num(np.abs(picture)) / wash.faint_below_gy, 0, 1)
    axes.imshow(
        np.nan_to_num(picture),
        cmap=wash.colours,
        vmin=wash.range_gy[0],
        vmax=wash.range_gy[1],
        alpha=_ALPHA * strength,
        origin="lower",
        extent=extent,
        aspect="auto",
        interpolation="nearest",
    )
    down, across = plane.axes
    for level in wash.isodoses_gy:
        reached = np.nanmin(picture, initial=np.inf) < level < np.nanmax(picture, initial=-np.inf)
        if reached and min(picture.shape) >= 2:
            positions = plane.grid.axis_mm(across), plane.grid.axis_mm(down)
            axes.contour(*positions, picture, levels=[level], colors="white", linewidths=0.7, linestyles="dotted")
    low, high = plane.ct.grid.bounds_mm
    axes.set_xlim(low[across], high[across])
    vertical = (low[down], high[down])
    axes.set_ylim(vertical if plane.view != "axial" else vertical[::-1])


def draw_outlines(axes: Axes, plane: Plane, colours: Mapping[str, str], width: float = 1.3) -> None:
    """Outlines of the coloured structures, `width` points wide, on a dark edge."""
    from matplotlib.collections import LineCollection

    drawn = [(curve, colour) for name, colour in colours.items() for curve in plane.outlines.get(name, ())]
    curves = [curve for curve, _ in drawn]
    axes.add_collection(LineCollection(curves, colors="black", linewidths=width + 1.1, alpha=0.55), autolim=False)
    edge = LineCollection(curves, colors=[colour for _, colour in drawn], linewidths=width)
    axes.add_collection(edge, autolim=False)


def label_plane(axes: Axes, plane: Plane) -> None:
    """The letters of the patient's directions, and where the plane lies."""
    from matplotlib.patheffects import withStroke

    left, right, top, bottom = _LETTERS[plane.view]
    style: dict[str, Any] = {"color": _TEXT, "transform": axes.transAxes, "fontsize": 9, "fontweight": "bold"}
    style["path_effects"] = [withStroke(linewidth=2, foreground="black")]
    axes.text(0.012, 0.5, left, ha="left", va="center", **style)
    axes.text(0.988, 0.5, right, ha="right", va="center", **style)
    axes.text(0.5, 0.985, top, ha="center", va="top", **style)
    axes.text(0.5, 0.015, bottom, ha="center", va="bottom", **style)
    axis = "zyx"[NORMAL_AXIS[plane.view]]
    note = f"{plane.view}\n{axis} = {plane.position_mm:.0f} mm"
    axes.text(0.012, 0.985, note, ha="left", va="top", **{**style, "fontweight": "normal", "fontsize": 7.5})


def draw_bar(figure: Figure, axes: Axes, wash: Wash) -> None:
    """An upright colour bar that fills `axes`, with its marks."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(*wash.range_gy), wash.colours), cax=axes)
    low, high = wash.range_gy
    marks = {level: text for level, text in wash.marks.items() if low <= level <= high}
    clear = 0.09 * (high - low)
    step = 10.0 if high - low > 25 else 5.0
    plain = {float(v): f"{v:g}" for v in np.arange(np.ceil(low / step) * step, high + 1e-6, step)}
    ticks = {level: text for level, text in plain.items() if all(abs(level - mark) > clear for mark in marks)} | marks
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    bar.ax.tick_params(colors=_TEXT, labelsize=7, length=2)
    bar.outline.set_visible(False)
    axes.set_title("Gy", color=_TEXT, fontsize=8, pad=4)
