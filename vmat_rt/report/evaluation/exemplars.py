"""Which predictions are shown in pictures, and those pictures: colourwash, difference, gamma map and DVH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from vmat_rt.case import Case, FloatArray, Structure, Volume
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.metrics.gamma.index import GammaResult, gamma
from vmat_rt.protocol import Protocol
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.evaluation.drawing import INK, SOFT, Drawing, Style, dress, finish, make_figure
from vmat_rt.report.evaluation.pooled import Model
from vmat_rt.report.figures import (
    Wash,
    draw_bar,
    draw_outlines,
    draw_plane,
    label_plane,
    make_difference_wash,
    make_dose_wash,
)
from vmat_rt.report.gamma_figure import draw_gamma
from vmat_rt.report.planes import VIEWS, Plane, cut_planes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rank = Literal["best", "median", "worst"]
_LEFT_INCHES: Final = 0.05
_BAR_INCHES: Final = 0.98
_HEAD_INCHES: Final = 0.42
_FOOT_INCHES: Final = 0.78
_GAP_INCHES: Final = 0.05
_WIDTH_INCHES: Final = 11.0
_NAMES_IN_A_ROW: Final = 8
_PAPER: Final = "#000000"
_TEXT: Final = "#e8edf2"


@dataclass(frozen=True)
class Choice:
    """One prediction of the model, by its place among all that were evaluated. mae_gy is over the body."""

    rank: Rank
    model: str
    seed: str
    case: str
    mae_gy: float

    @property
    def title(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.rank.capitalize()}: {self.case}, {self.model}{seed}, MAE {self.mae_gy:.2f} Gy"


@dataclass(frozen=True)
class Exemplar:
    """A choice with its case (which has the reference dose), the predicted dose (Gy) and the case's protocol."""

    choice: Choice
    case: Case
    predicted: Volume
    protocol: Protocol

    @property
    def reference(self) -> Volume:
        assert self.case.reference_dose is not None
        return self.case.reference_dose


def choose(model: Model) -> tuple[Choice, ...]:
    """Best, median and worst of all its predictions by MAE in the body; fewer where there are fewer than three."""
    errors = sorted((value, *pair) for pair, value in model.values.get("mae_gy", {}).items() if value is not None)
    places: dict[int, Rank] = {0: "best"} if errors else {}
    places.setdefault(len(errors) - 1, "worst")
    places.setdefault(len(errors) // 2, "median")
    ordered = sorted(rank for rank in places if 0 <= rank < len(errors))
    return tuple(Choice(places[at], model.name, errors[at][1], errors[at][2], errors[at][0]) for at in ordered)


def draw_dose_pictures(exemplar: Exemplar, style: Style) -> Drawing:
    """Three views down; predicted, reference and their difference across, on CT."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    case, planes = exemplar.case, cut_planes(exemplar.case, exemplar.predicted.grid)
    pictures = [(plane.sample(exemplar.predicted), plane.sample(exemplar.reference)) for plane in planes]
    highest = max(float(np.nanmax(picture, initial=0.0)) for pair in pictures for picture in pair)
    doses_gy = case.prescription.dose_gy
    # Not the rainbow of a single case's report: viridis stays in order for colour-blind readers and in grey print.
    washes = replace(make_dose_wash(doses_gy, highest), colours="viridis"), make_difference_wash(doses_gy)
    colours = assign_colours(list_evaluated_structures(case, exemplar.protocol), exemplar.protocol)
    across = (_WIDTH_INCHES - 2 * _BAR_INCHES - _LEFT_INCHES - 2 * _GAP_INCHES) / 3
    heights = [across * _compute_aspect(plane) for plane in planes]
    height = sum(heights) + _HEAD_INCHES + _FOOT_INCHES + 2 * _GAP_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=130, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    top = height - _HEAD_INCHES
    for plane, (mine, theirs), down in zip(planes, pictures, heights, strict=True):
        for column, (picture, wash) in enumerate(((mine, washes[0]), (theirs, washes[0]), (mine - theirs, washes[1]))):
            rectangle = (
                _place_column_inches(column, across) / _WIDTH_INCHES,
                (top - down) / height,
                across / _WIDTH_INCHES,
                down / height,
            )
            _draw_view(figure.add_axes(rectangle), plane, picture, wash, colours)
        top -= down + _GAP_INCHES
    _draw_heads_and_bars(figure, across, washes)
    _name_outlines(figure, planes, case, colours)
    caption = (
        f"{exemplar.choice.title}. Dotted white: 95 % of each prescribed dose; difference = predicted − reference."
    )
    return finish(figure, f"dose_{exemplar.choice.rank}", caption, style)


def _place_column_inches(column: int, across: float) -> float:
    """Left edge of a column: the dose's bar stands behind the second, the difference's behind the third."""
    return _LEFT_INCHES + column * (across + _GAP_INCHES) + (_BAR_INCHES if column == 2 else 0.0)


def _draw_view(axes: Axes, plane: Plane, picture: FloatArray, wash: Wash, colours: Mapping[str, str]) -> None:
    draw_plane(axes, plane, picture, wash)
    draw_outlines(axes, plane, colours, width=0.9)
    label_plane(axes, plane)


def _draw_heads_and_bars(figure: Figure, across: float, washes: tuple[Wash, Wash]) -> None:
    height = float(figure.get_size_inches()[1])
    for column, title in enumerate(("Predicted", "Reference", "Predicted − reference")):
        x = (_place_column_inches(column, across) + across / 2) / _WIDTH_INCHES
        y = 1 - 0.1 / height
        figure.text(x, y, title, color=_TEXT, fontsize=11, fontweight="bold", ha="center", va="top")
    bar = min(3.6, height - 1.6)
    low = (height - _HEAD_INCHES - bar - 0.25) / height
    for column, wash in ((1, washes[0]), (2, washes[1])):
        x = (_place_column_inches(column, across) + across + 0.08) / _WIDTH_INCHES
        draw_bar(figure, figure.add_axes((x, low, 0.13 / _WIDTH_INCHES, bar / height)), wash)


def _name_outlines(figure: Figure, planes: Sequence[Plane], case: Case, colours: Mapping[str, str]) -> None:
    """A legend of the structures that are cut, above the foot."""
    from matplotlib.lines import Line2D

    known = {structure.roi_name: structure.name for structure in (*case.structures.values(), case.body)}
    cut = [name for name in colours if any(plane.outlines.get(name) for plane in planes)]
    lines = [Line2D([], [], color=colours[name], linewidth=2, label=known.get(name) or name) for name in cut]
    if lines:
        anchor = (0.0, 0.3 / float(figure.get_size_inches()[1]))
        figure.legend(
            handles=lines, loc="lower left", bbox_to_anchor=anchor, ncols=_NAMES_IN_A_ROW, frameon=False,
            labelcolor=_TEXT, fontsize=7.5, handlelength=1.4, columnspacing=1.4, labelspacing=0.2, borderaxespad=0.4,
        )  # fmt: skip


def _compute_aspect(plane: Plane) -> float:
    low, high = plane.ct.grid.bounds_mm
    down, across = plane.axes
    return (high[down] - low[down]) / (high[across] - low[across])


def draw_gamma_map(exemplar: Exemplar, style: Style) -> Drawing:
    """Gamma 3 % / 3 mm of the predicted dose on three planes, where most points fail."""
    from matplotlib import rc_context

    result = gamma(exemplar.reference, exemplar.predicted)
    with rc_context({"font.size": 8, "axes.titlesize": 9}):
        figure = make_figure(3.5)
        draw_gamma(figure, figure.subplots(1, len(VIEWS)), result)
    return finish(figure, f"gamma_{exemplar.choice.rank}", _write_gamma_caption(exemplar.choice, result), style)


def _write_gamma_caption(choice: Choice, result: GammaResult) -> str:
    if result.pass_rate_percent is None:
        return f"{choice.title}. Gamma {result.criteria.label}: not evaluable, {result.reason}."
    passed = f"{result.pass_rate_percent:.1f} % of {result.points_evaluated} points pass"
    return f"{choice.title}. Gamma {result.criteria.label}: {passed} (all points of the dose grid, body and beyond)."


def draw_dvh_figure(exemplars: Sequence[Exemplar], style: Style) -> Drawing:
    """Cumulative DVHs, one panel per exemplar: predicted solid, reference dashed."""
    from matplotlib.lines import Line2D

    figure = make_figure(4.6)
    handles: dict[str, Line2D] = {}
    panels = figure.subplots(1, len(exemplars), squeeze=False, sharey=True)[0]
    for axes, exemplar in zip(panels, exemplars, strict=True):
        structures = list_evaluated_structures(exemplar.case, exemplar.protocol)
        colours = assign_colours(structures, exemplar.protocol)
        for structure in structures:
            if structure.name != exemplar.protocol.body_name:
                name, colour = structure.name or structure.roi_name, colours[structure.roi_name]
                _draw_curves(axes, exemplar, structure, colour)
                handles.setdefault(name, Line2D([], [], color=colour, label=name))
        for level in exemplar.case.prescription.dose_gy.values():
            axes.axvline(level, color=SOFT, linewidth=0.8, linestyle=":")
        first = axes is panels[0]
        choice = exemplar.choice
        dress(axes, f"{choice.rank.capitalize()}: {choice.case}", "dose, Gy", "volume, %" if first else "")
        axes.set_ylim(0, 102)
        axes.set_xlim(left=0)
    lines = [Line2D([], [], color=INK, label="predicted"), Line2D([], [], color=INK, linestyle="--", label="reference")]
    figure.legend(handles=[*lines, *handles.values()], loc="outside upper left", ncols=6, frameon=False, fontsize=8)
    caption = (
        f"Cumulative DVHs of {exemplars[0].choice.model}: predicted solid, reference dashed, prescriptions dotted."
    )
    return finish(figure, "dvh", caption, style)


def _draw_curves(axes: Axes, exemplar: Exemplar, structure: Structure, colour: str) -> None:
    for dose, line in ((exemplar.predicted, "-"), (exemplar.reference, "--")):
        dvh = compute_dvh(structure, dose)
        if dvh.cumulative is not None:
            levels = np.linspace(0, float(dose.array.max()) * 1.02, 400)
            axes.plot(levels, np.asarray(dvh.curve(levels)), color=colour, linestyle=line, linewidth=1.4)
