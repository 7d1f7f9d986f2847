"""The gamma map on three planes as one picture. Matplotlib's object API, no pyplot.

Blue passes, orange fails, white stands at gamma 1 (Okabe and Ito's blue and vermilion, which colour-blind readers tell
apart); a black line is drawn round what fails. Orientation as in the report: the patient's right is on the left of
axial and coronal views, sagittal views have the front on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.metrics.gamma.index import PASS, GammaResult
from vmat_rt.report.planes import NORMAL_AXIS, VIEWS, View
from vmat_rt.report.schema import NOTICE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_AXIS_LABELS = ("z, to the head (mm)", "y, to the back (mm)", "x, to the patient's left (mm)")
_PASS, _EDGE, _FAIL, _NOT_EVALUATED = "#0072B2", "#F7F7F7", "#D55E00", "#C8C8C8"
_SIZE_INCHES = (13.0, 5.2)
_DPI = 120


def write_gamma_figure(result: GammaResult, path: Path) -> None:
    """Write the map as PNG: axial, coronal and sagittal planes where most points fail, axes in LPS mm.

    A map without evaluated points is drawn empty and says why. Raises OSError when the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    draw_gamma(figure, figure.subplots(1, 3), result)
    figure.suptitle(_write_title(result))
    figure.supxlabel(NOTICE, color=_FAIL, fontweight="bold")
    figure.savefig(path, format="png", metadata={"Software": None})


def draw_gamma(figure: Figure, panels: Sequence[Axes], result: GammaResult) -> None:
    """The map on three panels, axial, coronal and sagittal, with one colour bar beside them."""
    focus = _choose_focus(result.map.array)
    images = [_draw(panel, result, view, focus) for panel, view in zip(panels, VIEWS, strict=True)]
    bar = figure.colorbar(images[-1], ax=panels, shrink=0.8, label="gamma (grey: not evaluated)")
    bar.set_ticks([0, 0.5, PASS, *np.linspace(PASS, result.criteria.max_gamma, 3)[1:]])


def _write_title(result: GammaResult) -> str:
    if result.pass_rate_percent is None or result.mean is None:
        return f"Gamma {result.criteria.label}: not evaluable, {result.reason}"
    summary = f"{result.pass_rate_percent:.1f} % of {result.points_evaluated} points pass, mean {result.mean:.2f}"
    return f"Gamma {result.criteria.label}: {summary}"


def _choose_focus(values: FloatArray) -> tuple[int, ...]:
    """Choose along each axis the index with most failing points, or with most evaluated ones where none fails."""
    chosen = values > PASS
    if not chosen.any():
        chosen = np.isfinite(values)
    return tuple(int(chosen.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3))


def _draw(panel: Axes, result: GammaResult, view: View, focus: tuple[int, ...]) -> ScalarMappable:
    from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

    grid, normal = result.map.grid, NORMAL_AXIS[view]
    down, across = (axis for axis in range(3) if axis != normal)
    picture = result.map.array.take(focus[normal], axis=normal)
    low, high = grid.bounds_mm
    colours = LinearSegmentedColormap.from_list("gamma", [_PASS, _EDGE, _FAIL]).with_extremes(bad=_NOT_EVALUATED)
    image = panel.imshow(
        np.ma.masked_invalid(picture),
        cmap=colours,
        norm=TwoSlopeNorm(PASS, 0.0, result.criteria.max_gamma),
        extent=(low[across], high[across], low[down], high[down]),
        origin="lower",
        interpolation="nearest",
    )
    if min(picture.shape) > 1 and (picture > PASS).any():
        levels = np.nan_to_num(picture, nan=0.0)
        panel.contour(grid.axis_mm(across), grid.axis_mm(down), levels, [PASS], colors="black", linewidths=0.8)
    if view == "axial":
        panel.invert_yaxis()  # the back is at the bottom
    panel.set_aspect("equal")
    panel.set_xlabel(_AXIS_LABELS[across])
    panel.set_ylabel(_AXIS_LABELS[down])
    panel.set_title(f"{view}, {'zyx'[normal]} = {grid.axis_mm(normal)[focus[normal]]:.1f} mm")
    return image
