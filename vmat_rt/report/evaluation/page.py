"""report.html and its figures. The page is one file that needs nothing else: no script, no network, pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.report.evaluation.labels import describe_quantity
from vmat_rt.report.evaluation.pooled import Model
from vmat_rt.report.evaluation.sections import ReportMaterial, Section, write_sections
from vmat_rt.report.page_template import load_page_template
from vmat_rt.report.schema import NOTICE

PAGE = "report.html"
FIGURES = "figures"
_TILES = ("mae_gy", "gamma_target_percent", "gamma_global_percent", "openkbp_dose_score", "openkbp_dvh_score")


@dataclass(frozen=True)
class HeadlineTile:
    """One number at the top."""

    value: str
    label: str
    note: str


def write_evaluation_report(material: ReportMaterial, folder: Path) -> list[Path]:
    """Write report.html and figures/*.png, *.pdf into an existing folder; returns their paths."""
    sections = write_sections(material)
    figures = folder / FIGURES
    figures.mkdir(exist_ok=True)
    paths = [folder / PAGE]
    for drawing in (drawing for section in sections for drawing in section.drawings):
        for suffix, content in (("png", drawing.png), ("pdf", drawing.pdf)):
            paths.append(figures / f"{drawing.name}.{suffix}")
            paths[-1].write_bytes(content)
    paths[0].write_text(render(material, sections), encoding="utf-8")
    return paths


def render(material: ReportMaterial, sections: Sequence[Section]) -> str:
    """The HTML. Every text is escaped."""
    pooled = material.pooled
    notes = [note for evaluation in pooled.evaluations for note in evaluation.aggregate.notes]
    return load_page_template("evaluation.html").render(
        notice=NOTICE,
        simulated=material.simulated,
        title=", ".join(dict.fromkeys(model.name for model in pooled.models if not model.is_baseline)) or "Evaluation",
        cohorts=list({e.aggregate.cohort.name: e.aggregate.cohort for e in pooled.evaluations}.values()),
        tiles=_build_tiles(material.focus),
        focus=material.focus.name,
        sections=sections,
        notes=list(dict.fromkeys([*notes, *pooled.notes])),
        figures=FIGURES,
    )


def _build_tiles(focus: Model) -> list[HeadlineTile]:
    """Average the headline numbers of the model in focus over its seeds."""
    tiles = []
    gaps = [metric for metric in focus.values if metric.startswith("d95_gap_gy:")]
    for metric in [*_TILES[:3], *gaps[:2], *_TILES[3:]]:
        by_seed = list(focus.by_seed(metric).values())
        if by_seed:
            what = describe_quantity(metric)
            mean = what.text(sum(by_seed) / len(by_seed))
            seeds = f"mean of {len(by_seed)} seeds" if len(by_seed) > 1 else "mean over cases"
            tiles.append(HeadlineTile(f"{mean} {what.unit}".strip(), what.label, seeds))
    return tiles
