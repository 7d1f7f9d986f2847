"""Case documents as an evaluation would write them, with the numbers that a test wants."""

from __future__ import annotations

from collections.abc import Mapping

from vmat_rt.report.evaluation_schema import CaseDocument, MeasuredBy, OpenKbpEntry, StructureResult
from vmat_rt.report.schema import ProblemEntry


def structure(
    name: str, prescription_gy: float | None = None, **values: tuple[float | None, float | None]
) -> StructureResult:
    """values: metric (D95 for D95%) -> (predicted, reference)."""
    spelt = {"D95": "D95%", "D98": "D98%", "D003cc": "D0.03cc"}
    return StructureResult(
        name=name,
        role="oar" if prescription_gy is None else "target",
        volume_cc=10.0,
        prescription_gy=prescription_gy,
        predicted={spelt.get(metric, metric): pair[0] for metric, pair in values.items()},
        reference={spelt.get(metric, metric): pair[1] for metric, pair in values.items()},
    )


def document(
    case: str,
    metrics: Mapping[str, float | None] | None = None,
    *,
    seed: str = "",
    structures: list[StructureResult] | None = None,
    openkbp: Mapping[str, float] | None = None,
) -> CaseDocument:
    """metrics None: a case that failed. openkbp: its DVH errors by entry."""
    problem = ProblemEntry(code="WORKER_DIED", message="m", remedy="r", severity="error")
    return CaseDocument(
        label=f"m{seed}",
        model="m",
        seed=seed,
        model_sha256="0" * 64,
        case=case,
        case_sha256="1" * 64,
        measured_by=MeasuredBy(version="0", gamma=True),
        status="failed" if metrics is None else "done",
        problems=[problem] if metrics is None else [],
        metrics=dict(metrics or {}),
        structures=structures or [],
        goals=[],
        openkbp=None if openkbp is None else OpenKbpEntry(dose_error_gy=1.0, dvh_errors_gy=dict(openkbp)),
        coverage_percent=100.0,
        seconds={},
    )
