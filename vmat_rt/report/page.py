"""report.html, report.json and dvh.csv of one case. The page is one file: styles, script and volumes are inside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vmat_rt.metrics.gamma.index import GammaResult
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.document import build_report_document
from vmat_rt.report.margins import build_goal_marks
from vmat_rt.report.page_template import load_page_template
from vmat_rt.report.quality.build import build_quality_tables
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import ReportDocument
from vmat_rt.report.tables import build_dvh_tables, build_goal_tables, order_doses
from vmat_rt.report.web.dvh_data import build_dvh_data, write_dvh_csv
from vmat_rt.report.web.headlines import build_headlines
from vmat_rt.report.web.scene import build_scene
from vmat_rt.report.web.script import bundle_script
from vmat_rt.report.web.titles import list_simulated, title_doses

REPORT_FILES: Mapping[str, str] = {"report_html": "report.html", "report_json": "report.json", "dvh_csv": "dvh.csv"}


def write_report(result: CaseResult, folder: Path, *, pdf: bool = False) -> ReportDocument:
    """Write report.html, report.json and dvh.csv into an existing folder, and summary.pdf where `pdf` asks for it.

    Returns the content of report.json. Its `files` also list the other files that the folder already holds (the DICOM
    results), so it is written last. summary.pdf needs the extra `pdf`.
    """
    more = {"summary_pdf": "summary.pdf"} if pdf else {}
    document = build_report_document(result, _list_files(folder) | more)
    structures = list_evaluated_structures(result.case, result.protocol)
    paths = {kind: folder / name for kind, name in REPORT_FILES.items()}
    paths["dvh_csv"].write_text(write_dvh_csv(result, structures), encoding="utf-8")
    paths["report_html"].write_text(render_page(result, document), encoding="utf-8")
    if pdf:
        from vmat_rt.report.pdf.summary import write_summary_pdf

        (folder / more["summary_pdf"]).write_bytes(write_summary_pdf(result, document))
    paths["report_json"].write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return document


def render_page(result: CaseResult, document: ReportDocument) -> str:
    """The HTML page, complete in itself. Every text that came from a file is escaped."""
    structures = list_evaluated_structures(result.case, result.protocol)
    colours, titles = assign_colours(structures, result.protocol), title_doses(result)
    return load_page_template("report.html").render(
        doc=document,
        received=result.received,
        simulated=list_simulated(result),
        titles=titles,
        headlines=build_headlines(result, document),
        goal_tables=build_goal_tables(document),
        goal_marks=build_goal_marks(document),
        dvh_tables=build_dvh_tables(document, structures, colours),
        quality_tables=build_quality_tables(document.quality, titles),
        models=[dose.model for dose in order_doses(document) if dose.model is not None],
        scene=build_scene(result, document, colours, titles, _find_map(result)),
        dvh=build_dvh_data(result, document, colours, titles),
        script=bundle_script("main.mjs"),
    )


def _find_map(result: CaseResult) -> GammaResult | None:
    """The first gamma that has a map to show."""
    return next((found for found in result.gammas if found.status == "evaluated"), None)


def _list_files(folder: Path) -> dict[str, str]:
    """List what the folder will hold, by kind: a file's name up to its first dot, or the report's own kinds."""
    others = {
        path.name.partition(".")[0]: path.name
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and path.name not in REPORT_FILES.values()
    }
    return {**others, **REPORT_FILES}
