"""The main line: a study folder in, RTDOSE + companion RTPLAN + report out. Everything else reuses its parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vmat_rt.bundle import Bundle, find_bundle
from vmat_rt.case import Case
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.dose import Bits, as_stored
from vmat_rt.errors import raise_errors
from vmat_rt.geometry.model_grid import check_cut_off, model_grid
from vmat_rt.prediction import predict_dose
from vmat_rt.protocol import Protocol, load_protocol
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import write_report
from vmat_rt.report.quality.build import compute_gammas
from vmat_rt.report.result import CaseResult
from vmat_rt.study.bands import build_bands_entry, find_calibration
from vmat_rt.study.choice import AS_FOUND, StudyChoice, gated, load_case_and_bundle, prescribed, protocol_for
from vmat_rt.study.evaluate_dose import doses_to_report, evaluate_doses
from vmat_rt.study.outputs import (
    DEFAULT_OUTPUTS,
    NO_DICOM_HEADER,
    Outputs,
    patient_of,
    require_plain_name,
    with_plan_uid,
    write_dicom,
)
from vmat_rt.study.outside import check_learned
from vmat_rt.study.prediction import Prediction
from vmat_rt.study.stopwatch import Stopwatch
from vmat_rt.system.publish import published_folder, require_writable
from vmat_rt.system.steps import announced


def predict_study(
    folder: Path,
    out: Path | None,
    choice: StudyChoice = AS_FOUND,
    outputs: Outputs = DEFAULT_OUTPUTS,
    model: str | None = None,
    device: str = "auto",
    *,
    allow_outside: bool = False,
) -> Prediction:
    """Do the whole job for one study. Results appear under out/<case key>/ whole or not at all; the input is only read.

    model is the name or folder of a bundle; by default the protocol's own. allow_outside predicts what lies far outside
    of what it learned. With out=None nothing is written. Raises InputError when the study is refused, ConfigError for
    wrong options, ModelError when the model gives no dose.
    """
    if out is not None:
        require_writable(out)
    watch = Stopwatch()
    with watch.step("read"):
        study = read_study(folder, choice.structures_uid, choice.series_uid, deidentified=choice.deidentified)
        protocol = protocol_for(study, choice)
        case, bundle = load_case_and_bundle(study, protocol, choice, model)
        outputs = with_plan_uid(outputs, study)
    result = predict_and_evaluate(case, protocol, bundle, device, watch, allow_outside=allow_outside, bits=outputs.bits)
    if out is None:
        return Prediction(result, build_report_document(result, {}))
    with published_folder(out / case.key) as temporary:
        with watch.step("write DICOM", case.key):
            more = write_dicom(temporary, study, result, outputs)
        problems, patient = (*result.problems, *more), patient_of(study, outputs)
        result = replace(result, problems=problems, patient=patient, seconds=watch.seconds, received=outputs.received)
        with announced("report"):
            report = write_report(result, temporary, pdf=outputs.pdf)
    return Prediction(result, report, out / case.key)


def predict_and_evaluate(
    case: Case,
    protocol: Protocol,
    bundle: Bundle,
    device: str,
    watch: Stopwatch,
    *,
    allow_outside: bool = False,
    bits: Bits = 16,
) -> CaseResult:
    """Predict on the model's grid and evaluate; the geometric baseline's and the clinical dose stand beside.

    The dose is evaluated as an RTDOSE of so many bits holds it.
    Raises InputError when a target leaves the model's grid, or the case lies far outside of what the model learned.
    """
    outside = check_learned(case, protocol.site, bundle, allow_outside)
    cut_off = check_cut_off(case, model_grid(bundle.manifest.grid, case))
    raise_errors((*outside, *cut_off))
    with watch.step("predict", case.key):
        predicted = predict_dose(case, bundle, device)
        predicted = replace(predicted, dose=as_stored(predicted.dose, bits))
    with watch.step("dvh and goals", case.key):
        doses = doses_to_report(case, bundle, predicted, device)
        evaluated, *others = evaluate_doses(case, protocol, doses)
        calibration, other_model = find_calibration(bundle)
        beside = next((other for other in others if other.label == "geometric baseline"), None)
        bands = build_bands_entry(calibration, protocol, case.prescription, evaluated, beside) if calibration else None
    with watch.step("gamma", case.key):
        gammas = compute_gammas(evaluated, others)
    return CaseResult(
        case=case,
        protocol=protocol,
        predicted=evaluated,
        others=tuple(others),
        problems=(*outside, *case.problems, *bundle.problems, *cut_off, *other_model),
        patient=None,
        seconds=watch.seconds,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        bands=bands,
        baseline_was_shown=predicted.prior is not None,
        gammas=gammas,
    )


def predict_case(
    case: Case,
    out: Path | None,
    choice: StudyChoice = AS_FOUND,
    model: str | None = None,
    device: str = "auto",
    *,
    allow_outside: bool = False,
) -> Prediction:
    """Do the same for a case that came without a study: nothing is read, and of `choice` only what it says of the dose.

    Without a DICOM header no DICOM is written: out/<case key>/ holds the report, which says so (NO_DICOM_HEADER).
    Raises as predict_study.
    """
    protocol = choice.judging(choice.protocol or load_protocol(case.protocol_name))
    case = gated(prescribed(case, protocol, choice), protocol, choice.allowed)
    require_plain_name(case.key)
    bundle = find_bundle(protocol.name, model)
    if out is not None:
        require_writable(out)
    watch = Stopwatch()
    result = predict_and_evaluate(case, protocol, bundle, device, watch, allow_outside=allow_outside)
    if out is None:
        return Prediction(result, build_report_document(result, {}))
    result = replace(result, problems=(*result.problems, NO_DICOM_HEADER))
    with published_folder(out / case.key) as temporary, announced("report"):
        report = write_report(result, temporary)
    return Prediction(result, report, out / case.key)
