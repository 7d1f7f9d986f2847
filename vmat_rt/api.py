"""The Python API: predict, dvh and gamma. A string does wherever a path does; `import vmat_rt` offers all of it.

Arrays are ordered (z, y, x), and so are spacings and origins, in mm (DICOM patient system, LPS). Doses are Gy in total
over all fractions. A study or file that is refused raises InputError, whose `problems` say what is wrong and what to
do; a wrong argument raises ConfigError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.grid import Grid, Triple
from vmat_rt.metrics.dvh.compute import DEFAULT_METRICS
from vmat_rt.metrics.gamma.index import GammaCriteria, GammaResult
from vmat_rt.metrics.grammar import Metric, parse_metric, parse_metrics
from vmat_rt.protocol import Protocol, load_protocol
from vmat_rt.study.choice import StudyChoice, prescribed
from vmat_rt.study.dose_input import Dose, place, place_together, read_any_dose, read_for_study
from vmat_rt.study.dose_review import DoseReview, review_dose
from vmat_rt.study.outputs import DEFAULT_OUTPUTS, Outputs
from vmat_rt.study.predict import predict_case, predict_study
from vmat_rt.study.prediction import Prediction
from vmat_rt.study.review import dose_frames, gamma_of_doses, review_study

FolderOrFile: TypeAlias = "str | os.PathLike[str]"


def predict(
    study: FolderOrFile | Case,
    out: FolderOrFile | None = None,
    *,
    model: FolderOrFile | None = None,
    protocol: FolderOrFile | None = None,
    prescription_gy: Mapping[str, float] | None = None,
    fractions: int | None = None,
    device: str = "auto",
    structures_uid: str | None = None,
    series_uid: str | None = None,
    outputs: Outputs = DEFAULT_OUTPUTS,
    allow_outside: bool = False,
) -> Prediction:
    """Predict the dose of one patient and evaluate it. PREDICTED, NOT FOR TREATMENT.

    study: a folder that holds one patient's CT and RTSTRUCT (RTPLAN and RTDOSE are used when they are there), or a
    `vmat_rt.Case`. out: folder for results; they appear in out/<case key>/ whole or not at all, and a folder of that
    name is replaced. None writes nothing. A Case has no DICOM header: of it only the report is written, no RTDOSE, and
    the problem NO_DICOM_HEADER says so.

    model: a bundle by name (`vmat-rt models` lists them) or folder; by default the protocol's own. protocol: by name,
    or a site's own YAML file; by default the one that fits the contoured ROIs, or the case's. prescription_gy: Gy in
    total by target, before those of plan or case. fractions: their number, likewise. device: where a network runs,
    "auto", "cpu", "cuda" or "cuda:<number>". structures_uid, series_uid: choose among several structure sets and CT
    series of a folder. outputs: how DICOM is written. allow_outside: predict, with warnings, what lies far outside of
    what the model learned and is refused otherwise (OUTSIDE_TRAINING).

    Raises InputError when the study is refused or `out` cannot be written, ConfigError for a wrong argument,
    ModelError when the model is damaged or gives no dose.
    """
    choice = StudyChoice(structures_uid, series_uid, _load_protocol(protocol), prescription_gy or {}, fractions)
    folder = None if out is None else Path(out)
    named = None if model is None else os.fspath(model)
    if not isinstance(study, Case):
        return predict_study(Path(study), folder, choice, outputs, named, device, allow_outside=allow_outside)
    if structures_uid is not None or series_uid is not None or outputs != DEFAULT_OUTPUTS:
        raise ConfigError("structures_uid, series_uid and outputs are for folders of DICOM, and a Case is none")
    return predict_case(study, folder, choice, named, device, allow_outside=allow_outside)


def dvh(
    structures: FolderOrFile | Case | Mapping[str, ArrayLike],
    dose: Dose,
    metrics: str | Iterable[str | Metric] = DEFAULT_METRICS,
    *,
    spacing_mm: Triple | None = None,
    protocol: FolderOrFile | None = None,
    prescription_gy: Mapping[str, float] | None = None,
    fractions: int | None = None,
    structures_uid: str | None = None,
    all_rois: bool = False,
) -> DoseReview:
    """Compute the DVHs of structures in a dose: a mapping of structures with `.value("D95%")`, and goals and problems.

    structures: the folder of a study (its RTSTRUCT; CT is not needed), a `vmat_rt.Case`, or masks by name: booleans or
    area fractions in [0, 1], each (z, y, x) on the voxels of the dose. dose: an RTDOSE file, a `vmat_rt.Volume` or
    `Prediction`; or an array in Gy, on the voxels of the Case's CT or, with masks, at spacing_mm (z, y, x).

    metrics: "D95%,Dmean,V50Gy" or several such names, which the curves are made fine enough for; others may be asked
    for afterwards. protocol: by name or YAML file, for names and goals; by default the one that fits. prescription_gy:
    what V95% and other relative metrics refer to, by target. fractions: for goals, which are checked where protocol and
    prescription are known. structures_uid: chooses among several structure sets. all_rois: every contoured ROI of the
    folder, not only those that the protocol knows.

    Keys are TG-263 names, or the ROI's own name where it has none. Raises InputError when structures or dose cannot be
    used or lie in different frames of reference, ConfigError for a wrong argument.
    """
    wanted = _parse_metrics(metrics)
    choice = StudyChoice(structures_uid, None, _load_protocol(protocol), prescription_gy or {}, fractions)
    if isinstance(structures, Mapping):
        (volume,) = place_together((dose,), spacing_mm)
        return _review_masks(structures, volume, wanted, choice)
    if spacing_mm is not None:
        raise ConfigError("spacing_mm is for masks; a study and a Case have grids of their own")
    if isinstance(structures, Case):
        return _review_case(structures, place(read_any_dose(dose), structures.ct.grid), wanted, choice)
    return review_study(Path(structures), read_for_study(dose), wanted, choice, all_rois=all_rois)


def gamma(
    reference: Dose,
    evaluation: Dose,
    dose_percent: float = 3.0,
    distance_mm: float = 3.0,
    *,
    lower_cutoff_percent: float = 10.0,
    local: bool = False,
    max_gamma: float = 2.0,
    interpolation_mm: float | None = None,
    spacing_mm: Triple | None = None,
    device: str = "cpu",
) -> GammaResult:
    """Compute the gamma index of a dose against a reference (Low et al. 1998): `.pass_rate_percent`, `.map`, `.mean`.

    reference, evaluation: RTDOSE files, `vmat_rt.Volume`s or `Prediction`s, whose grids may differ; or arrays in Gy,
    two of one shape at spacing_mm (z, y, x), or one that lies on the voxels of the other dose.

    dose_percent: of the reference's maximum, or with `local` of each point's dose. distance_mm: to agreement.
    lower_cutoff_percent: points below this part of the maximum are left out. max_gamma: where the search ends.
    interpolation_mm: step of the search, by default a tenth of distance_mm. device: "cpu", "cuda" or "cuda:<number>".

    Doses that cannot be compared have the status "not evaluable" and a reason. Raises InputError when a file cannot be
    used or the doses lie in different frames of reference, ConfigError for a wrong argument.
    """
    criteria = GammaCriteria(dose_percent, distance_mm, lower_cutoff_percent, local, max_gamma, interpolation_mm)
    first, second = place_together((reference, evaluation), spacing_mm)
    return gamma_of_doses(first, second, criteria, device)


def _review_case(case: Case, dose: Volume, metrics: tuple[Metric, ...], choice: StudyChoice) -> DoseReview:
    if dose.grid.frame_uid != case.ct.grid.frame_uid:
        raise InputError(dose_frames("The dose lies in another frame of reference than the case."))
    protocol = choice.protocol or load_protocol(case.protocol_name)
    prescription = prescribed(case, protocol, choice).prescription
    mapped = [*case.structures.values(), *([] if case.body.name in case.structures else [case.body])]
    return review_dose(mapped, dose, metrics, prescription.dose_gy, protocol, prescription)


def _review_masks(
    masks: Mapping[str, ArrayLike], dose: Volume, metrics: tuple[Metric, ...], choice: StudyChoice
) -> DoseReview:
    structures = [Structure(name, name, _mask(name, mask, dose.grid)) for name, mask in masks.items()]
    protocol, prescription = choice.protocol, None
    if protocol is not None and choice.prescription_gy:
        prescription = Prescription(choice.prescription_gy, choice.fractions or protocol.fractions, "caller")
    return review_dose(structures, dose, metrics, choice.prescription_gy, protocol, prescription)


def _mask(name: str, mask: ArrayLike, grid: Grid) -> Volume:
    fraction = np.ascontiguousarray(mask, np.float32)
    if fraction.shape != grid.shape:
        raise ConfigError(f"the mask {name!r} has the shape {fraction.shape}, and the dose {grid.shape}")
    if not (np.isfinite(fraction).all() and fraction.min() >= 0 and fraction.max() <= 1):
        raise ConfigError(f"the mask {name!r} holds values that are not area fractions from 0 to 1")
    return Volume(grid, fraction)


def _parse_metrics(metrics: str | Iterable[str | Metric]) -> tuple[Metric, ...]:
    if isinstance(metrics, str):
        return parse_metrics(metrics)
    return tuple(dict.fromkeys(m if isinstance(m, Metric) else parse_metric(m) for m in metrics))


def _load_protocol(protocol: FolderOrFile | None) -> Protocol | None:
    return None if protocol is None else load_protocol(os.fspath(protocol))
