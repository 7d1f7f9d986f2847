"""Contact sheet of a cohort: one axial picture a case, pages of them, so that what is odd meets the eye."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.report.figures import Wash, draw_bar, draw_outlines, draw_plane
from vmat_rt.report.planes import Plane, make_axial_plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS: Final = 6
ROWS: Final = 5
_TALLEST: Final = 1.1
_TILE_INCHES: Final = 2.3
_CAPTION_INCHES: Final = 0.36
_GAP_INCHES: Final = 0.08
_HEAD_INCHES: Final = 0.5
_FOOT_INCHES: Final = 0.4
_BAR_INCHES: Final = 1.15
_DPI: Final = 140
_PAPER: Final = "#11161b"
_TEXT: Final = "#e8edf2"
_FAINT: Final = "#9fb0c0"
SIMULATED_COLOUR: Final = "#ffb000"


@dataclass(frozen=True)
class SheetTile:
    """One case's picture. dose: Gy (down, across) on the plane, NaN where there is none, or None without a dose."""

    title: str
    subtitle: str
    plane: Plane
    dose: FloatArray | None


@dataclass(frozen=True)
class Sheet:
    """What all tiles share. colours: #rrggbb by the names of outlines; others are not drawn."""

    title: str
    simulated: bool
    wash: Wash
    colours: Mapping[str, str]


def make_tile(case: Case, title: str, subtitle: str) -> SheetTile:
    """The slice through the centre of mass of the highest-dose target; of the CT where no target is contoured."""
    plane = make_axial_plane(case, _find_level_mm(case))
    dose = None if case.reference_dose is None else plane.sample(case.reference_dose)
    # Only what is drawn travels between processes.
    outlines = {find_case_name(case, name): curves for name, curves in plane.outlines.items() if curves}
    return SheetTile(title, subtitle, replace(plane, outlines=outlines), dose)


def find_case_name(case: Case, roi_name: str) -> str:
    """The TG-263 name of an ROI where the case knows one, so that a structure has one colour in all cases."""
    structures = (*case.structures.values(), case.body)
    return next((s.name for s in structures if s.roi_name == roi_name and s.name), roi_name)


def _find_level_mm(case: Case) -> float:
    for name in case.targets():
        areas = structure_fraction(case.structures[name], case.ct.grid).sum(axis=(1, 2), dtype=np.float64)
        if areas.any():
            return float(areas @ case.ct.grid.axis_mm(0) / areas.sum())
    return case.ct.grid.centre_mm[0]


def draw_contact_sheets(tiles: Sequence[SheetTile], sheet: Sheet) -> Iterator[bytes]:
    """PNG pages of up to COLUMNS x ROWS tiles, in order; a last page is only as high as it needs to be."""
    size = COLUMNS * ROWS
    pages = math.ceil(len(tiles) / size)
    for page in range(pages):
        yield _draw_page(tiles[page * size : (page + 1) * size], sheet, f"page {page + 1} of {pages}")


def _draw_page(tiles: Sequence[SheetTile], sheet: Sheet, page: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # As high as the tallest picture needs: pelves lie, heads stand.
    aspect = max((_measure_extent_mm(tile.plane)[0] / _measure_extent_mm(tile.plane)[1] for tile in tiles), default=1.0)
    tile_width, tile_height = _TILE_INCHES, _TILE_INCHES * min(aspect, _TALLEST)
    rows = max(2, math.ceil(len(tiles) / COLUMNS))
    width = COLUMNS * (tile_width + _GAP_INCHES) + _GAP_INCHES + _BAR_INCHES
    height = _HEAD_INCHES + rows * (tile_height + _CAPTION_INCHES + _GAP_INCHES) + _FOOT_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, COLUMNS)
        left = _GAP_INCHES + column * (tile_width + _GAP_INCHES)
        top = height - _HEAD_INCHES - row * (tile_height + _CAPTION_INCHES + _GAP_INCHES)
        _draw_tile(figure, tile, sheet, _TilePlace(left, top, tile_height))
    _draw_head(figure, sheet, page)
    _draw_legend(figure, tiles, sheet)
    bar_height = min(4.5, height - _HEAD_INCHES - _FOOT_INCHES - 0.4)
    bar_low = height - _HEAD_INCHES - bar_height - 0.1
    corner = ((width - _BAR_INCHES + 0.1) / width, bar_low / height, 0.16 / width, bar_height / height)
    draw_bar(figure, figure.add_axes(corner), sheet.wash)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor=_PAPER)
    return buffer.getvalue()


@dataclass(frozen=True)
class _TilePlace:
    """Left and upper edge of a tile and the height of its picture, inches from the figure's lower left corner."""

    left: float
    top: float
    height: float


def _draw_tile(figure: Figure, tile: SheetTile, sheet: Sheet, place: _TilePlace) -> None:
    """The picture keeps its proportions within the tile."""
    width, height = _measure_size_inches(figure)
    extent = _measure_extent_mm(tile.plane)
    scale = min(_TILE_INCHES / extent[1], place.height / extent[0])
    across, down = extent[1] * scale, extent[0] * scale
    left = place.left + (_TILE_INCHES - across) / 2
    low = place.top - (place.height + down) / 2
    axes = figure.add_axes((left / width, low / height, across / width, down / height))
    picture = tile.dose if tile.dose is not None else np.full(_get_picture_shape(tile.plane), np.nan, np.float32)
    draw_plane(axes, tile.plane, picture, sheet.wash)
    draw_outlines(axes, tile.plane, sheet.colours, width=0.8)
    x, y = place.left / width, (place.top - place.height) / height
    subtitle = tile.subtitle if tile.dose is not None else f"{tile.subtitle}, no dose"
    figure.text(x, y - 0.03 / height, tile.title, color=_TEXT, fontsize=8, fontweight="bold", va="top")
    figure.text(x, y - 0.18 / height, subtitle, color=_FAINT, fontsize=7, va="top")


def _measure_size_inches(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches().tolist()
    return width, height


def _measure_extent_mm(plane: Plane) -> tuple[float, float]:
    low, high = plane.ct.grid.bounds_mm
    down, across = plane.axes
    return high[down] - low[down], high[across] - low[across]


def _get_picture_shape(plane: Plane) -> tuple[int, ...]:
    return plane.flat(Volume(plane.grid, np.zeros(plane.grid.shape, np.float32))).shape


def _draw_head(figure: Figure, sheet: Sheet, page: str) -> None:
    width, height = _measure_size_inches(figure)
    y = 1 - 0.26 / height
    title = figure.text(_GAP_INCHES / width, y, sheet.title, color=_TEXT, fontsize=12, fontweight="bold", va="center")
    if sheet.simulated:
        end = title.get_window_extent().x1 / (width * _DPI)
        notice = "SIMULATED patients and doses"
        figure.text(end + 0.2 / width, y, notice, color=SIMULATED_COLOUR, fontsize=12, fontweight="bold", va="center")
    figure.text(1 - _GAP_INCHES / width, y, page, color=_FAINT, fontsize=9, va="center", ha="right")


def _draw_legend(figure: Figure, tiles: Sequence[SheetTile], sheet: Sheet) -> None:
    """The structures that are to be seen on this page."""
    from matplotlib.lines import Line2D

    shown = {name for tile in tiles for name in tile.plane.outlines}
    lines = [Line2D([], [], color=colour, linewidth=2, label=n) for n, colour in sheet.colours.items() if n in shown]
    if lines:
        figure.legend(
            handles=lines, loc="lower left", ncols=len(lines), frameon=False, labelcolor=_TEXT, fontsize=8,
            handlelength=1.4, columnspacing=1.4, borderaxespad=0.6,
        )  # fmt: skip
