"""summary.pdf: two pages with what must be known, goals, DVH and three planes; the numbers are those of report.json."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.figures import draw_row, make_dose_wash
from vmat_rt.report.margins import GoalMark, build_goal_marks
from vmat_rt.report.pdf.sheet import INK, LOWEST_MM, MET, MISSED, SIMULATED, SOFT, WIDTH_MM, Sheet
from vmat_rt.report.planes import cut_planes
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import NOTICE, ReportDocument
from vmat_rt.report.tables import GoalRow, GoalTable, build_dvh_tables, build_goal_tables, format_number
from vmat_rt.report.web.dvh_data import find_highest_dose_gy, list_doses, sample_curve
from vmat_rt.report.web.headlines import Headlines, build_headlines
from vmat_rt.report.web.titles import list_simulated, title_doses

_DASHES: Final[Mapping[str, Any]] = {"predicted": "-", "geometric baseline": ":", "clinical": "--"}
_TARGET_COLUMNS: Final = ("D98%", "D95%", "D50%", "D2%", "Dmean", "Dmax", "V95%", "V100%")
_ROW_MM: Final = 4.1
_DVH_INCHES: Final = (8.4, 4.2)
_DVH_DPI: Final = 170
_MOST_PROBLEMS: Final = 4


def write_summary_pdf(result: CaseResult, document: ReportDocument) -> bytes:
    """The PDF. Needs the extra `pdf`. What does not fit on its two pages is counted, and stands in report.html."""
    foot = f"{NOTICE}. Case {document.case.key}; in full in report.html and report.json."
    sheet = Sheet(document.case.key, foot, document.created)
    sheet.add_page()
    _write_head(sheet, result, document)
    _write_headlines(sheet, build_headlines(result, document), document)
    _write_problems(sheet, document)
    _write_goals(sheet, result, document)
    sheet.add_page()
    _write_targets(sheet, result, document)
    _write_heading(sheet, "Dose-volume histogram")
    sheet.place_picture(*draw_dvh(result), 95)
    _write_heading(sheet, "Predicted dose through the target; dotted: 95 % of each prescribed dose")
    sheet.place_picture(*_draw_planes(result), LOWEST_MM - sheet.get_y() - 3)
    return bytes(sheet.output())


def _write_heading(sheet: Sheet, text: str) -> None:
    sheet.set_y(sheet.get_y() + 2)
    sheet.write_line(text, size=9, bold=True, height=5)


def _write_head(sheet: Sheet, result: CaseResult, document: ReportDocument) -> None:
    sheet.write_line(document.title, size=14, bold=True, height=7)
    who = [*(document.patient or {}).values(), f"case {document.case.key}", document.created or ""]
    sheet.write_line(", ".join(filter(None, who)), colour=SOFT)
    if said := list_simulated(result):
        sheet.write_line(" ".join(said), bold=True, colour=SIMULATED)
    prescription = document.prescription
    doses = ", ".join(f"{name} {dose:g} Gy" for name, dose in prescription.dose_gy.items())
    sheet.write_line(f"Prescription: {doses} in {prescription.fractions} fractions, from {prescription.source}")
    if document.model is not None:
        model = document.model
        sheet.write_line(f"Model: {model.name} {model.version} ({model.kind}), trained on {model.trained_on}")


def _write_headlines(sheet: Sheet, headlines: Headlines, document: ReportDocument) -> None:
    _write_heading(sheet, f"{headlines.missed or 'No'} of {headlines.goals} goals missed")
    for goal in headlines.named:
        sheet.write_line(f"{goal.goal} is {goal.value}: {goal.margin}", bold=True, colour=MISSED)
    more = f"{headlines.more} more missed; " if headlines.more else ""
    sheet.write_line(
        f"{more}{headlines.near} met by less than 5 % of the limit; {headlines.unknown} not evaluable.", colour=SOFT
    )
    for gap in headlines.gaps:
        note = f" ({gap.note})" if gap.note else ""
        sheet.write_line(f"{gap.text} {gap.value}{note}")
    for rate in document.gamma:
        sheet.write_line(f"Gamma {rate.criteria}: {format_number(rate.pass_rate_percent)} % {rate.reason}".strip())


def _write_problems(sheet: Sheet, document: ReportDocument) -> None:
    if not document.problems:
        sheet.write_line("No problems: nothing stood against the input.")
        return
    _write_heading(sheet, "Problems found")
    for problem in document.problems[:_MOST_PROBLEMS]:
        sheet.write_text(f"{problem.severity.capitalize()} ({problem.code}): {problem.message}", size=7.5)
    left = len(document.problems) - _MOST_PROBLEMS
    if left > 0:
        sheet.write_line(f"{left} more in report.html.", colour=SOFT)


def _write_goals(sheet: Sheet, result: CaseResult, document: ReportDocument) -> None:
    """All goal sets in order; where the page ends, how many goals follow, and how many of these are missed."""
    titles = title_doses(result)
    waiting: list[tuple[GoalTable, GoalRow, GoalMark, str]] = []
    for table, marks in zip(build_goal_tables(document), build_goal_marks(document), strict=True):
        above = ""
        for row, mark in zip(table.rows, marks, strict=True):
            above = row.structure or above
            waiting.append((table, row, mark, above))
    shown: GoalTable | None = None
    for index, (table, row, mark, name) in enumerate(waiting):
        needed = _ROW_MM * (2 if table is shown else 5)
        if sheet.get_y() + needed > LOWEST_MM:
            left = [rest[2].urgency for rest in waiting[index:]]
            words = f"{len(left)} more goals in report.html, {left.count('missed')} of them missed."
            sheet.write_line(words, bold=True, colour=MISSED if "missed" in left else SOFT)
            return
        if table is not shown:
            _write_goal_head(sheet, table, titles)
            shown = table
        _write_goal(sheet, row, mark, name)


def _compute_widths(count: int) -> tuple[float, float, float, float]:
    """Structure, goal, one dose, margin in mm."""
    dose = min(34.0, 84.0 / count)
    rest = WIDTH_MM - dose * count
    return rest * 0.25, rest * 0.35, dose, rest * 0.40


def _write_goal_head(sheet: Sheet, table: GoalTable, titles: Mapping[str, str]) -> None:
    _write_heading(sheet, table.title)
    name, goal, dose, margin = _compute_widths(len(table.labels))
    columns = [("Structure", name), ("Goal as evaluated", goal), *((titles[label], dose) for label in table.labels)]
    cells = [(text, width, "L", SOFT, True) for text, width in (*columns, ("Margin, predicted", margin))]
    sheet.write_row(cells, size=6.5, height=_ROW_MM)


def _write_goal(sheet: Sheet, row: GoalRow, mark: GoalMark, name: str) -> None:
    widths = _compute_widths(len(row.verdicts))
    cells = [(name, widths[0], "L", INK, True), (row.evaluated or row.stated, widths[1], "L", INK, False)]
    for verdict in row.verdicts:
        colour = {"missed": MISSED, "met": MET}.get(verdict.status, SOFT)
        text = f"{verdict.value} {verdict.symbol} {verdict.status}".strip()
        cells.append((text, widths[2], "L", colour, verdict.status == "missed"))
    cells.append((mark.margin or "–", widths[3], "L", MISSED if mark.urgency == "missed" else INK, False))
    sheet.write_row(cells, size=7, height=_ROW_MM)


def _write_targets(sheet: Sheet, result: CaseResult, document: ReportDocument) -> None:
    structures = list_evaluated_structures(result.case, result.protocol)
    colours, titles = assign_colours(structures, result.protocol), title_doses(result)
    targets = next((t for t in build_dvh_tables(document, structures, colours) if t.title == "Targets"), None)
    if targets is None:
        return
    _write_heading(sheet, "Targets, doses in Gy, volumes in %")
    places = [targets.columns.index(metric) for metric in _TARGET_COLUMNS]
    width = (WIDTH_MM - 66) / len(places)
    head = [("Target", 30, "L", SOFT, True), ("Dose", 36, "L", SOFT, True)]
    sheet.write_row(
        [*head, *((metric, width, "R", SOFT, True) for metric in _TARGET_COLUMNS)], size=6.5, height=_ROW_MM
    )
    for row in targets.rows[:6]:
        for first, (label, values) in enumerate(row.lines):
            cells = [("" if first else row.label, 30, "L", INK, True), (titles[label], 36, "L", SOFT, False)]
            sheet.write_row([*cells, *((values[i], width, "R", INK, False) for i in places)], size=7, height=_ROW_MM)


def draw_dvh(result: CaseResult) -> tuple[bytes, tuple[int, int]]:
    """The cumulative DVH of every structure and dose as PNG, and its size in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    structures = list_evaluated_structures(result.case, result.protocol)
    colours, titles = assign_colours(structures, result.protocol), title_doses(result)
    figure = Figure(figsize=_DVH_INCHES, dpi=_DVH_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    highest = find_highest_dose_gy(result)
    handles = [
        Line2D([], [], color="black", linestyle=_DASHES[d.label], label=titles[d.label]) for d in list_doses(result)
    ]
    for structure in structures:
        for dose in list_doses(result):
            dvh = dose.dvhs.get(structure.roi_name)
            if dvh is not None and dvh.cumulative is not None:
                line: dict[str, Any] = {
                    "linestyle": _DASHES[dose.label],
                    "linewidth": 1.6 if dose.label == "predicted" else 1.0,
                }
                axes.plot(*sample_curve(dvh, highest), color=colours[structure.roi_name], **line)
        handles.append(Line2D([], [], color=colours[structure.roi_name], label=structure.name or structure.roi_name))
    for level in result.case.prescription.dose_gy.values():
        axes.axvline(level, color="#56636f", linewidth=0.8, linestyle="-.")
    axes.set(xlim=(0, highest * 1.02), ylim=(0, 102), xlabel="Dose, Gy", ylabel="Volume, %")
    axes.grid(color="#d9e0e6", linewidth=0.6)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=7.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue(), (round(_DVH_INCHES[0] * _DVH_DPI), round(_DVH_INCHES[1] * _DVH_DPI))


def _draw_planes(result: CaseResult) -> tuple[bytes, tuple[int, int]]:
    structures = list_evaluated_structures(result.case, result.protocol)
    planes = cut_planes(result.case, result.predicted.dose.grid)
    pictures = [plane.sample(result.predicted.dose) for plane in planes]
    highest = max(float(np.nanmax(picture, initial=0.0)) for picture in pictures)
    wash = make_dose_wash(result.case.prescription.dose_gy, highest)
    return draw_row(planes, pictures, wash, assign_colours(structures, result.protocol))
