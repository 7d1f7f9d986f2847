"""An A4 sheet with the notice at its head and "page x of y" at its foot, and the few things that are put on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fpdf import FPDF

from vmat_rt.report.schema import NOTICE

MARGIN_MM: Final = 12.0
WIDTH_MM: Final = 210.0 - 2 * MARGIN_MM
LOWEST_MM: Final = 297.0 - 14.0
"""Where the foot begins."""
Colour = tuple[int, int, int]
INK: Final[Colour] = (23, 33, 43)
SOFT: Final[Colour] = (86, 99, 111)
LINE: Final[Colour] = (205, 213, 220)
DANGER: Final[Colour] = (143, 29, 29)
MISSED: Final[Colour] = (153, 48, 10)
MET: Final[Colour] = (11, 93, 86)
SIMULATED: Final[Colour] = (138, 75, 0)
_FONT: Final = "DejaVu"


class Sheet(FPDF):
    """Pages are added by hand: what does not fit is left out by who writes, never pushed to a third page."""

    def __init__(self, title: str, foot: str, created: str | None) -> None:
        super().__init__("portrait", "mm", "A4")
        self._foot = foot
        self.set_margins(MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(False)
        self.set_title(f"{NOTICE}: {title}")
        self.set_lang("en")
        # Equal reports are equal byte for byte.
        self.set_creation_date(datetime.fromisoformat(created) if created else datetime(2000, 1, 1, tzinfo=UTC))
        for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(_FONT, style, _find_font(name))
        self.set_font(_FONT, size=8)

    def header(self) -> None:
        """Draw the notice across the page."""
        self.set_fill_color(*DANGER)
        self.rect(0, 0, 210, 8, style="F")
        self.set_xy(0, 1.4)
        self.write_line(NOTICE, size=10, bold=True, colour=(255, 255, 255), align="C", width=210, height=5.2)
        self.set_xy(MARGIN_MM, 11)

    def footer(self) -> None:
        """Draw the notice again, where this comes from, and the page."""
        self.set_xy(MARGIN_MM, LOWEST_MM + 4)
        self.write_line(self._foot, size=6.5, colour=SOFT, width=WIDTH_MM * 0.82)
        self.set_xy(MARGIN_MM, LOWEST_MM + 4)
        self.write_line(f"page {self.page_no()} of {{nb}}", size=7, colour=SOFT, align="R")

    def write_line(
        self,
        text: str,
        *,
        size: float = 8,
        bold: bool = False,
        colour: Colour = INK,
        align: str = "L",
        width: float = WIDTH_MM,
        height: float = 0.0,
    ) -> None:
        """One line of text, shortened where it is too long; the place moves below it."""
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(*colour)
        left = self.get_x()
        self.cell(width, height or size * 0.5, self.shorten(text, width), align=align, new_x="LEFT", new_y="NEXT")
        self.set_x(left)

    def write_text(self, text: str, *, size: float = 8, colour: Colour = INK, width: float = WIDTH_MM) -> None:
        """A paragraph; the place moves below it."""
        self.set_font(_FONT, "", size)
        self.set_text_color(*colour)
        self.multi_cell(width, size * 0.48, text, align="L", new_x="LEFT", new_y="NEXT")

    def shorten(self, text: str, width: float) -> str:
        """The text as far as it fits into a width in mm, with an ellipsis where something is left out."""
        room = width - 2 * self.c_margin
        if self.get_string_width(text) <= room:
            return text
        while text and self.get_string_width(f"{text}…") > room:
            text = text[:-1]
        return f"{text}…"

    def write_row(self, cells: Sequence[tuple[str, float, str, Colour, bool]], *, size: float, height: float) -> None:
        """One row of (text, width in mm, alignment, colour, bold) with a hair line below it."""
        top = self.get_y()
        for text, width, align, colour, bold in cells:
            self.set_font(_FONT, "B" if bold else "", size)
            self.set_text_color(*colour)
            self.cell(width, height, self.shorten(text, width), align=align)
        self.set_draw_color(*LINE)
        self.set_line_width(0.15)
        self.line(MARGIN_MM, top + height, MARGIN_MM + WIDTH_MM, top + height)
        self.set_xy(MARGIN_MM, top + height)

    def place_picture(self, png: bytes, size: tuple[int, int], highest_mm: float) -> None:
        """A picture of that (width, height) in pixels, as large as there is room; the place moves below it."""
        scale = min(WIDTH_MM / size[0], highest_mm / size[1])
        width, height = size[0] * scale, size[1] * scale
        self.image(io.BytesIO(png), MARGIN_MM + (WIDTH_MM - width) / 2, self.get_y(), width, height)
        self.set_xy(MARGIN_MM, self.get_y() + height + 1.5)


def _find_font(name: str) -> Path:
    """DejaVu, which matplotlib brings: it has every sign of our reports."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
