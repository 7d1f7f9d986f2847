"""The contact sheet: which slice a tile shows, where things lie on it, and what a page says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.report import synthetic
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.report.contact_sheet import COLUMNS, ROWS, Sheet, SheetTile, draw_contact_sheets, make_tile
from vmat_rt.report.figures import Wash

CT_GRID = Grid((40, 70, 104), (4.0, 3.0, 3.3), (-66.0, -84.0, -178.0), synthetic.FRAME)
WASH = Wash("autumn_r", (0.0, 1.0), 0.5, {})
ORANGE = (255, 176, 0)


@pytest.fixture(scope="module")
def case() -> Case:
    return synthetic.case(CT_GRID)


def sheet(simulated: bool = False, colours: dict[str, str] | None = None) -> Sheet:
    return Sheet("Cohort pelvis", simulated, WASH, colours or {})


def pixels(png: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)


def spot(case: Case, centre_mm: tuple[float, float, float], radius_mm: float = 25.0) -> Case:
    """The case with a ball of 1 Gy as its dose."""
    z, y, x = (CT_GRID.axis_mm(a) - centre_mm[a] for a in range(3))
    near = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= radius_mm**2
    return replace(case, reference_dose=Volume(CT_GRID, near.astype(np.float32)))


def coloured(picture: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the first tile where red exceeds blue by far: dose, not grey."""
    tile = picture[60:, :320]
    rows, columns = np.nonzero(tile[..., 0] - tile[..., 2] > 40)
    return rows, columns


def test_a_tile_shows_the_centre_of_the_highest_target(case: Case) -> None:
    tile = make_tile(case, "k", "SIB")
    assert tile.plane.position_mm == pytest.approx(synthetic.CENTRE[0], abs=CT_GRID.spacing_mm[0] / 2 + 1e-6)
    only_low = {name: s for name, s in case.structures.items() if name != "PTV_7000"}
    lower = make_tile(replace(case, structures=only_low), "k", "SIB")
    centre = synthetic.CENTRE[0] + synthetic.ELLIPSOIDS["PTV_5600"][0][0]
    assert lower.plane.position_mm == pytest.approx(centre, abs=CT_GRID.spacing_mm[0] / 2 + 1e-6)


def test_a_structure_has_one_name_in_all_tiles(case: Case) -> None:
    tile = make_tile(case, "k", "SIB")
    assert case.structures["PTV_7000"].roi_name != "PTV_7000"
    assert {"PTV_7000", "Rectum", "External"} <= set(tile.plane.outlines)
    empty = Structure("nothing", "Bladder", None)
    without = make_tile(replace(case, structures={**case.structures, "Bladder": empty}), "k", "SIB")
    assert "Bladder" not in without.plane.outlines


def test_left_is_right_and_front_is_up(case: Case) -> None:
    z, y, x = synthetic.CENTRE
    middle = {}
    for name, place in {"left": (z, y, x + 80), "right": (z, y, x - 80), "front": (z, y - 50, x)}.items():
        rows, columns = coloured(pixels(next(draw_contact_sheets([make_tile(spot(case, place), "k", "")], sheet()))))
        assert len(rows) > 50, name
        middle[name] = (rows.mean(), columns.mean())
    assert middle["left"][1] > middle["front"][1] + 20 > middle["right"][1] + 40
    assert middle["front"][0] < middle["left"][0] - 20


def test_a_case_without_dose_is_shown_without_colour(case: Case) -> None:
    tile = make_tile(replace(case, reference_dose=None), "k", "SIB")
    assert tile.dose is None
    rows, _ = coloured(pixels(next(draw_contact_sheets([tile], sheet()))))
    assert len(rows) == 0


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (30, 1), (31, 2), (0, 0)])
def test_pages_hold_thirty_tiles(case: Case, count: int, pages: int) -> None:
    assert COLUMNS * ROWS == 30
    tile = make_tile(case, "k", "SIB")
    drawn = [Image.open(io.BytesIO(png)).size for png in draw_contact_sheets([tile] * count, sheet())]
    assert len(drawn) == pages
    assert all(width == drawn[0][0] for width, _ in drawn)
    if pages == 2:
        assert drawn[1][1] < drawn[0][1] / 1.8


def said(tile: SheetTile, simulated: bool) -> int:
    head = pixels(next(draw_contact_sheets([tile], sheet(simulated))))[:60]
    return int((np.abs(head - ORANGE).sum(axis=2) < 30).sum())


def test_simulated_is_said_on_the_page(case: Case) -> None:
    tile = make_tile(replace(case, reference_dose=None), "k", "SIB")
    assert said(tile, simulated=True) > 500
    assert said(tile, simulated=False) == 0


def test_only_coloured_structures_are_outlined_and_stand_in_the_legend(case: Case) -> None:
    tile = make_tile(replace(case, reference_dose=None), "k", "SIB")
    magenta = pixels(next(draw_contact_sheets([tile], sheet(colours={"Rectum": "#ff00ff", "Esophagus": "#00ff00"}))))
    is_magenta = np.abs(magenta - (255, 0, 255)).sum(axis=2) < 60
    height = len(magenta)
    assert is_magenta[60 : height - 70].sum() > 20  # the outline
    assert is_magenta[height - 70 :].sum() > 20  # the legend
    assert (np.abs(magenta - (0, 255, 0)).sum(axis=2) < 60).sum() == 0  # no case has one
