"""The DICOM files of a result, and how a user wants them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vmat_rt.dicom.plan import read_plan
from vmat_rt.dicom.study import Study
from vmat_rt.dicom.write.dose import Bits, write_rtdose
from vmat_rt.dicom.write.header import header_from
from vmat_rt.dicom.write.isodose import write_isodoses
from vmat_rt.dicom.write.plan import write_companion_plan
from vmat_rt.errors import ConfigError, InputError, Problem, warning
from vmat_rt.report.result import CaseResult


@dataclass(frozen=True)
class Outputs:
    """How results are written.

    The dose belongs to a companion plan, or to `plan` (an RTPLAN file), or to the plan with the UID `plan_uid`. bits:
    16 or 32 per voxel of the RTDOSE. isodose_percent: levels, in percent of the highest prescription, of an RTSTRUCT of
    isodoses; none by default. identify: the report shows the patient's name and ID. received: what report.html alone
    calls the study, such as the name of its folder; nothing by default, for it may name the patient. pdf: a summary
    of two pages too (extra `pdf`).
    """

    plan: str | Path | None = None
    plan_uid: str | None = None
    bits: Bits = 16
    isodose_percent: tuple[float, ...] = ()
    identify: bool = False
    received: str = ""
    pdf: bool = False


DEFAULT_OUTPUTS = Outputs()
NO_DICOM_HEADER = warning(
    "NO_DICOM_HEADER",
    "The case came without a DICOM study, so that no RTDOSE and no RTPLAN were written.",
    "Predict the folder of the DICOM study to get them; in Python the dose is that of the Prediction.",
)


def require_plain_name(key: str) -> None:
    """Raise ConfigError unless a case's key can name the folder of its results: one part of a path, not hidden."""
    if not key or key.startswith(".") or Path(key).name != key or "\\" in key or "\0" in key:
        raise ConfigError(f"the key of a case names the folder of its results, which {key!r} cannot")


def with_plan_uid(outputs: Outputs, study: Study) -> Outputs:
    """The same with the UID of the plan file, if one is named. Raises InputError (PLAN_MISMATCH, or as read_plan)."""
    if outputs.plan is None:
        return outputs
    if not Path(outputs.plan).is_file():
        raise ConfigError(f"there is no file {outputs.plan}")
    plan = read_plan(Path(outputs.plan))
    if plan.structure_set_uid and plan.structure_set_uid != study.structure_set.sop_uid:
        message = "The RTPLAN given with --plan was made on another structure set."
        remedy = "Give a plan of this structure set, or leave --plan out to get a companion plan."
        raise InputError(Problem("PLAN_MISMATCH", message, remedy))
    return replace(outputs, plan=None, plan_uid=plan.sop_uid)


def write_dicom(folder: Path, study: Study, result: CaseResult, outputs: Outputs) -> tuple[Problem, ...]:
    """rtdose.dcm, rtplan.dcm unless outputs.plan_uid names an existing plan, and isodoses.dcm where asked for."""
    header = header_from(study)
    dose, identity = result.predicted.dose, result.predicted.model
    assert identity is not None
    plan_uid = outputs.plan_uid
    if plan_uid is None:
        plan_uid = write_companion_plan(folder / "rtplan.dcm", result.case, header, identity)
    write_rtdose(folder / "rtdose.dcm", dose, header, identity, plan_uid, outputs.bits)
    if not outputs.isodose_percent:
        return ()
    levels, highest = outputs.isodose_percent, result.case.prescription.highest_gy
    return write_isodoses(folder / "isodoses.dcm", dose, levels, highest, header, identity)


def patient_of(study: Study, outputs: Outputs) -> dict[str, str] | None:
    """What the report may say of the patient; nothing unless outputs.identify asks for it."""
    if not outputs.identify:
        return None
    header = study.structure_set.header
    return {"name": str(header.get("PatientName", "")), "id": str(header.get("PatientID", ""))}
