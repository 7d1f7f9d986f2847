"""A report in a few lines: for a terminal, and as a small table for a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vmat_rt.report.page_template import load_page_template
from vmat_rt.report.schema import ReportDocument
from vmat_rt.report.tables import build_goal_tables, build_target_tiles


def write_summary_text(document: ReportDocument, files: Mapping[str, Path]) -> str:
    """What was predicted, how the goals fared, every problem, and where the files are; one thing per line."""
    goals = Counter(goal.status for goal in document.predicted.goals)
    counts = ", ".join(f"{count} {status}" for status, count in goals.items())
    lines = [f"{document.notice}: {document.case.key}, {document.title}", f"goals: {counts or 'none'}"]
    lines += [f"{problem.severity}: {problem.message} {problem.remedy}" for problem in document.problems]
    lines += [f"{kind:>12}  {path}" for kind, path in files.items()]
    return "\n".join(lines)


def write_summary_html(document: ReportDocument) -> str:
    """Notice, model, D95% of the targets, goals and problems as HTML without script or style sheet, complete in itself.

    Every text that came from a file is escaped.
    """
    return load_page_template("summary.html").render(
        doc=document, tiles=build_target_tiles(document), tables=build_goal_tables(document)
    )
