"""The main line: a study folder in, RTDOSE + companion RTPLAN + report out. Everything else reuses its parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from vmat_rt.bundle import Bundle, baseline_bundle, find_bundle
from vmat_rt.case import Case, ModelIdentity, Structure, Volume
from vmat_rt.dicom.load import choose_protocol, load_case
from vmat_rt.dicom.plan import read_plan
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.dicom.write.dose import Bits, write_rtdose
from vmat_rt.dicom.write.header import header_from
from vmat_rt.dicom.write.isodose import write_isodoses
from vmat_rt.dicom.write.plan import write_companion_plan
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.geometry.model_grid import cut_off_problems, model_grid
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.metrics.goals import check_goal_sets
from vmat_rt.prediction import predict_dose, predict_doses
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols
from vmat_rt.report.page import write_report
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import DoseLabel, PredictDocument, ReportDocument
from vmat_rt.system.publish import published_folder
from vmat_rt.system.threads import run_threads

log = logging.getLogger("vmat_rt")


@dataclass(frozen=True)
class StudyChoice:
    """Which files of a folder to use, and what the user says of them. Empty values mean: as found."""

    structures_uid: str | None = None
    series_uid: str | None = None
    protocol: Protocol | None = None
    prescription_gy: Mapping[str, float] = field(default_factory=dict)
    fractions: int | None = None


@dataclass(frozen=True)
class Outputs:
    """How results are written. The dose belongs to a companion plan, or to `plan` (a file), or to `plan_uid`."""

    plan: Path | None = None
    plan_uid: str | None = None
    bits: Bits = 16
    isodose_percent: tuple[float, ...] = ()
    identify: bool = False


AS_FOUND = StudyChoice()
DEFAULT_OUTPUTS = Outputs()


class Stopwatch:
    """Seconds a step, in the order in which the steps ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, key: str = "-") -> Iterator[None]:
        """Time one step and log it with the job's key."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        log.info("%s %s %.2f s", key, name, self.seconds[name])


def protocol_for(study: Study, choice: StudyChoice) -> Protocol:
    """The protocol that the user named, or the packaged one that fits the contoured ROIs."""
    if choice.protocol is not None:
        return choice.protocol
    contoured = [roi.name for roi in study.structure_set.rois if roi.drawn]
    return choose_protocol(contoured, [load_protocol(name) for name in packaged_protocols()])


def case_of(study: Study, protocol: Protocol, choice: StudyChoice) -> Case:
    """The study without identity, named and prescribed by the protocol and the user."""
    return load_case(study, protocol, choice.prescription_gy or None, choice.fractions)


def evaluate_dose(
    label: DoseLabel, case: Case, protocol: Protocol, dose: Volume, model: ModelIdentity | None
) -> DoseResult:
    """DVHs of the mapped structures and the body, and every goal set of the protocol."""
    structures: list[Structure] = [*case.structures.values()]
    if case.body.name not in case.structures:
        structures.append(case.body)
    prescription = case.prescription
    dvhs = compute_dvhs(structures, dose, metrics=protocol.goal_metrics(), prescription_gy=prescription.dose_gy)
    return DoseResult(label, dose, dvhs, check_goal_sets(protocol, dvhs.values(), prescription), model)


_Labelled = tuple[DoseLabel, Volume, ModelIdentity | None]


def predict_case(case: Case, protocol: Protocol, bundle: Bundle, device: str, watch: Stopwatch) -> CaseResult:
    """Predict and evaluate: the model's dose, and the geometric baseline's and the clinical one where they exist."""
    problems: tuple[Problem, ...] = cut_off_problems(case, model_grid(bundle.manifest.grid, case))
    raise_errors(problems)
    with watch.step("predict", case.key):
        dose, prior = predict_doses(case, bundle, device)
    with watch.step("dvh and goals", case.key):
        doses: list[_Labelled] = [("predicted", dose, bundle.identity)]
        beside = baseline_bundle(bundle, bundle.manifest.protocols)
        if beside is not None:
            doses.append(("geometric baseline", prior or predict_dose(case, beside, device), beside.identity))
        if case.reference_dose is not None:
            doses.append(("clinical", case.reference_dose, None))
        predicted, *others = run_threads(lambda one: evaluate_dose(one[0], case, protocol, one[1], one[2]), doses)
    return CaseResult(
        case=case,
        protocol=protocol,
        predicted=predicted,
        others=tuple(others),
        problems=(*case.problems, *bundle.problems, *problems),
        patient=None,
        seconds=watch.seconds,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _case_and_bundle(study: Study, protocol: Protocol, choice: StudyChoice, model: str | None) -> tuple[Case, Bundle]:
    """Both, or one refusal with the problems of the case before the lack of a model."""
    refused: tuple[Problem, ...] = ()
    try:
        case = case_of(study, protocol, choice)
    except InputError as refusal:
        refused = refusal.problems
    try:
        bundle = find_bundle(protocol.name, model)
    except InputError as refusal:
        raise InputError((*refused, *refusal.problems)) from None
    raise_errors(refused)
    return case, bundle


@dataclass(frozen=True)
class Published:
    """What a finished study left behind: its folder, the files in it by kind, and the report's JSON document."""

    folder: Path
    report: ReportDocument

    @property
    def files(self) -> dict[str, Path]:
        return {kind: self.folder / name for kind, name in self.report.files.items()}

    def document(self) -> PredictDocument:
        """report.json with the absolute paths of what was written."""
        paths = {kind: str(path.resolve()) for kind, path in self.files.items()}
        return PredictDocument(**self.report.model_dump(mode="json"), paths=paths)

    def summary(self) -> str:
        """A few lines for a person at a terminal."""
        report = self.report
        goals = [goal.status for goal in report.predicted.goals]
        counts = ", ".join(f"{goals.count(status)} {status}" for status in dict.fromkeys(goals))
        lines = [f"{report.notice}: {report.case.key}, {report.protocol.title}", f"goals: {counts or 'none'}"]
        lines += [f"{problem.severity}: {problem.message} {problem.remedy}" for problem in report.problems]
        lines += [f"{kind:>12}  {path}" for kind, path in self.files.items()]
        return "\n".join(lines)


def predict_study(
    folder: Path,
    out: Path,
    choice: StudyChoice = AS_FOUND,
    outputs: Outputs = DEFAULT_OUTPUTS,
    model: str | None = None,
    device: str = "auto",
) -> Published:
    """The whole job for one study. Results appear under out/<case key>/ whole or not at all; the input is only read.

    model is the name or folder of a bundle; by default the protocol's own. Raises InputError when the study is
    refused, ConfigError for wrong options, ModelError when the prediction cannot be a dose.
    """
    watch = Stopwatch()
    with watch.step("read"):
        study = read_study(folder, choice.structures_uid, choice.series_uid)
        protocol = protocol_for(study, choice)
        case, bundle = _case_and_bundle(study, protocol, choice, model)
        outputs = _with_plan_uid(outputs, study)
    result = predict_case(case, protocol, bundle, device, watch)
    final = out / study.key
    with published_folder(final) as temporary:
        with watch.step("write DICOM", case.key):
            more = write_dicom(temporary, study, result, outputs)
        patient = patient_of(study) if outputs.identify else None
        result = replace(result, problems=(*result.problems, *more), patient=patient)
        written = write_report(result, temporary)
        report = ReportDocument.model_validate_json(written["report_json"].read_text(encoding="utf-8"))
    return Published(final, report)


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


def _with_plan_uid(outputs: Outputs, study: Study) -> Outputs:
    """The same with the UID of the plan file, if one is named. Raises InputError (PLAN_MISMATCH, or as read_plan)."""
    if outputs.plan is None:
        return outputs
    plan = read_plan(outputs.plan)
    if plan.structure_set_uid and plan.structure_set_uid != study.structure_set.sop_uid:
        message = "The RTPLAN given with --plan was made on another structure set."
        remedy = "Give a plan of this structure set, or leave --plan out to get a companion plan."
        raise InputError(Problem("PLAN_MISMATCH", message, remedy))
    return replace(outputs, plan=None, plan_uid=plan.sop_uid)


def patient_of(study: Study) -> dict[str, str]:
    """What `--identify` lets a report say of the patient."""
    header = study.structure_set.header
    return {"name": str(header.get("PatientName", "")), "id": str(header.get("PatientID", ""))}
