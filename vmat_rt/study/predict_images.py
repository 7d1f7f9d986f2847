"""The main line for image files: a folder of NIfTI or NRRD in, dose.nii.gz and report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vmat_rt.assembly.prescription import COMMAND_LINE
from vmat_rt.assembly.voxels import GivenDoses, case_of_voxels
from vmat_rt.bundle import Bundle, find_bundle
from vmat_rt.case import Case
from vmat_rt.errors import InputError, Problem, raise_errors
from vmat_rt.imagefiles.mapping import read_mapping
from vmat_rt.imagefiles.patient import ImageFolder, open_folder, read_patient
from vmat_rt.imagefiles.write import write_dose
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols
from vmat_rt.report.document import build_report_document
from vmat_rt.report.page import write_report
from vmat_rt.report.schema import NOTICE
from vmat_rt.study.choice import AS_FOUND, StudyChoice, gated
from vmat_rt.study.predict import predict_and_evaluate
from vmat_rt.study.prediction import Prediction
from vmat_rt.study.stopwatch import Stopwatch
from vmat_rt.system.publish import published_folder, require_writable

DOSE_FILE = "dose.nii.gz"


def predict_images(
    folder: Path,
    out: Path | None,
    mapping: Path | None = None,
    choice: StudyChoice = AS_FOUND,
    model: str | None = None,
    device: str = "auto",
    *,
    allow_outside: bool = False,
    pdf: bool = False,
) -> Prediction:
    """The whole job for one folder of images. Results appear under out/<case key>/ whole or not at all.

    mapping: a mapping file; by default mapping.yaml in the folder, else the names of the files. choice: protocol,
    prescription and fractions of the user, before the mapping's. allow_outside: as for `predict_study`. pdf: write
    summary.pdf too. The dose lies on the model's grid, cut to the CT, in the images' own space. With out=None nothing
    is written. Raises InputError when the images are refused, ConfigError for wrong options or a wrong mapping file,
    ModelError when the prediction cannot be a dose.
    """
    if out is not None:
        require_writable(out)
    watch = Stopwatch()
    with watch.step("read"):
        given = read_mapping(mapping) if mapping is not None else None
        known = [choice.protocol] if choice.protocol is not None else _packaged()
        images = open_folder(folder, given, known)
        case, protocol, bundle = _case_and_bundle(images, choice, known, model)
        protocol = choice.judging(protocol)
        case = gated(case, protocol, choice.allowed)
    result = predict_and_evaluate(case, protocol, bundle, device, watch, allow_outside=allow_outside)
    if out is None:
        return Prediction(result, build_report_document(result, {}))
    with published_folder(out / case.key) as temporary:
        with watch.step("write NIfTI", case.key):
            write_dose(temporary / DOSE_FILE, result.predicted.dose, NOTICE)
        result = replace(result, seconds=watch.seconds)
        report = write_report(result, temporary, pdf=pdf)
    return Prediction(result, report, out / case.key)


def read_images(folder: Path, mapping: Path | None = None, choice: StudyChoice = AS_FOUND) -> Case:
    """The case in a folder of images, as `predict_images` reads it."""
    known = [choice.protocol] if choice.protocol is not None else _packaged()
    images = open_folder(folder, read_mapping(mapping) if mapping is not None else None, known)
    return _case(images, choice, _protocols(images, choice, known))


def _packaged() -> list[Protocol]:
    return [load_protocol(name) for name in packaged_protocols()]


def _protocols(images: ImageFolder, choice: StudyChoice, known: Sequence[Protocol]) -> Sequence[Protocol]:
    """What the user names, else what the mapping names, else all that ship."""
    named = images.protocol() if choice.protocol is None else None
    return [named] if named is not None else known


def _case(images: ImageFolder, choice: StudyChoice, protocols: Sequence[Protocol]) -> Case:
    said = GivenDoses(choice.prescription_gy, choice.fractions, COMMAND_LINE)
    return case_of_voxels(read_patient(images, [said]), protocols)


def _case_and_bundle(
    images: ImageFolder, choice: StudyChoice, known: Sequence[Protocol], model: str | None
) -> tuple[Case, Protocol, Bundle]:
    """All three, or one refusal with the problems of the case before the lack of a model for the protocol named."""
    protocols = _protocols(images, choice, known)
    refused: list[Problem] = []
    try:
        case = _case(images, choice, protocols)
        protocols = [protocol for protocol in protocols if protocol.name == case.protocol_name]
    except InputError as refusal:
        refused += refusal.problems
    if len(protocols) == 1:
        try:
            bundle = find_bundle(protocols[0].name, model)
        except InputError as refusal:
            refused += refusal.problems
    raise_errors(refused)
    return case, protocols[0], bundle
