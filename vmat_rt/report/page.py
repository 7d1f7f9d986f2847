"""report.html, report.json and dvh.csv of one case. The page is one file: styles, script and pictures are inside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from vmat_rt.case import FloatArray, Structure
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.document import build_report_document
from vmat_rt.report.dvh_plot import build_dvh_figure, list_doses, write_dvh_csv
from vmat_rt.report.figures import Wash, draw_row, make_difference_wash, make_dose_wash
from vmat_rt.report.page_template import load_page_template
from vmat_rt.report.planes import Plane, cut_planes
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import ReportDocument
from vmat_rt.report.tables import build_dvh_tables, build_goal_tables, build_target_tiles, order_doses

REPORT_FILES: Mapping[str, str] = {"report_html": "report.html", "report_json": "report.json", "dvh_csv": "dvh.csv"}


@dataclass(frozen=True)
class Picture:
    """One inlined row of pictures."""

    title: str
    note: str
    data: str
    size: tuple[int, int]


@dataclass(frozen=True)
class LegendEntry:
    """One structure that is outlined in the pictures."""

    label: str
    colour: str


def write_report(result: CaseResult, folder: Path) -> ReportDocument:
    """Write report.html, report.json and dvh.csv into an existing folder; returns the content of report.json.

    Its `files` also list the other files that the folder already holds (the DICOM results), so it is written last.
    """
    document = build_report_document(result, _list_files(folder))
    structures = list_evaluated_structures(result.case, result.protocol)
    paths = {kind: folder / name for kind, name in REPORT_FILES.items()}
    paths["dvh_csv"].write_text(write_dvh_csv(result, structures), encoding="utf-8")
    paths["report_html"].write_text(render_page(result, document), encoding="utf-8")
    paths["report_json"].write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return document


def render_page(result: CaseResult, document: ReportDocument) -> str:
    """The HTML page, complete in itself. Every text that came from a file is escaped."""
    structures = list_evaluated_structures(result.case, result.protocol)
    colours = assign_colours(structures, result.protocol)
    planes = cut_planes(result.case, result.predicted.dose.grid)
    return load_page_template("report.html").render(
        doc=document,
        tiles=build_target_tiles(document),
        goal_tables=build_goal_tables(document),
        dvh_tables=build_dvh_tables(document, structures, colours),
        models=[dose.model for dose in order_doses(document) if dose.model is not None],
        pictures=_draw_pictures(result, planes, colours),
        legend=_build_legend(structures, planes, colours),
        figure=build_dvh_figure(result, structures, colours),
        sources=[dose.label for dose in list_doses(result)],
        plotly=read_plotly_script(),
    )


def read_plotly_script() -> str:
    """plotly.min.js as the plotly package ships it."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _list_files(folder: Path) -> dict[str, str]:
    """List what the folder will hold, by kind: a file's name up to its first dot, or the report's own kinds."""
    others = {
        path.name.partition(".")[0]: path.name
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and path.name not in REPORT_FILES.values()
    }
    return {**others, **REPORT_FILES}


def _draw_pictures(result: CaseResult, planes: Sequence[Plane], colours: Mapping[str, str]) -> list[Picture]:
    """The predicted dose; then the clinical dose, and predicted minus every other dose."""
    prescription = result.case.prescription.dose_gy
    sampled = {dose.label: [plane.sample(dose.dose) for plane in planes] for dose in list_doses(result)}
    highest = max((float(np.nanmax(p, initial=0.0)) for row in sampled.values() for p in row), default=0.0)
    wash = make_dose_wash(prescription, highest)
    lines = "Dotted white lines: 95 % of each prescribed dose."
    rows: list[tuple[str, str, Sequence[FloatArray], Wash]] = [("Predicted dose", lines, sampled["predicted"], wash)]
    for dose in sorted(result.others, key=lambda dose: dose.label != "clinical"):
        if dose.label == "clinical":
            rows.append(("Clinical dose", "The dose that came with the study.", sampled[dose.label], wash))
        gaps = [mine - theirs for mine, theirs in zip(sampled["predicted"], sampled[dose.label], strict=True)]
        note = "Red: predicted is higher. Blue: predicted is lower."
        rows.append((f"Predicted minus {dose.label} dose", note, gaps, make_difference_wash(prescription)))
    pictures = []
    for title, note, values, colouring in rows:
        png, size = draw_row(planes, values, colouring, colours)
        pictures.append(Picture(title, note, base64.b64encode(png).decode("ascii"), size))
    return pictures


def _build_legend(
    structures: Sequence[Structure], planes: Sequence[Plane], colours: Mapping[str, str]
) -> list[LegendEntry]:
    """Structures that at least one plane cuts."""
    cut = {roi_name for plane in planes for roi_name, curves in plane.outlines.items() if curves}
    return [LegendEntry(s.name or s.roi_name, colours[s.roi_name]) for s in structures if s.roi_name in cut]
