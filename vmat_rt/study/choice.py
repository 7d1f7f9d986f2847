"""What a user chooses of a study, and the protocol, case and model that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.bundle import Bundle, find_bundle
from vmat_rt.case import Case, Prescription
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.prescription.find import Given
from vmat_rt.dicom.study import Study
from vmat_rt.errors import ConfigError, InputError, Problem, listed_within, raise_errors, warning
from vmat_rt.gate.dose import reference_problem
from vmat_rt.gate.examine import examine
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols

_HIGHEST_GY = 200
_MOST_FRACTIONS = 200


@dataclass(frozen=True)
class StudyChoice:
    """Which files of a folder to use, and what the user says of them. Empty values mean: as found.

    prescription_gy: Gy in total by target. allowed: codes of the gate's errors that are taken as warnings.
    deidentified: the folder is a set that lost patients or frames of reference, see `dicom.deidentified`. goal_sets:
    names of those that are judged; none of them: those that the protocol judges. Raises ConfigError for a dose that
    does not lie between 0 and 200 Gy, and for fractions that are not 1 to 200.
    """

    structures_uid: str | None = None
    series_uid: str | None = None
    protocol: Protocol | None = None
    prescription_gy: Mapping[str, float] = field(default_factory=dict)
    fractions: int | None = None
    allowed: frozenset[str] = frozenset()
    deidentified: bool = False
    goal_sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dose_gy in self.prescription_gy.items():
            if not 0 < dose_gy < _HIGHEST_GY:
                raise ConfigError(f"{name}: {dose_gy!r} is not a dose between 0 and {_HIGHEST_GY} Gy")
        if self.fractions is not None and not 1 <= self.fractions <= _MOST_FRACTIONS:
            raise ConfigError(f"{self.fractions!r} is not a number of fractions from 1 to {_MOST_FRACTIONS}")

    @property
    def given(self) -> Given:
        """What the user says of the prescription; a protocol that was named speaks for its own doses."""
        return Given(self.prescription_gy, self.fractions, self.protocol is not None, self.allowed)

    def judging(self, protocol: Protocol) -> Protocol:
        """The protocol with the goal sets of this choice. Raises ConfigError for a name that it does not have."""
        return protocol.choose_goal_sets(self.goal_sets) if self.goal_sets else protocol


AS_FOUND = StudyChoice()


def protocol_for(study: Study, choice: StudyChoice) -> Protocol:
    """The protocol that the user named, or the packaged one that fits the contoured ROIs."""
    if choice.protocol is not None:
        return choice.judging(choice.protocol)
    contoured = [roi.name for roi in study.structure_set.rois if roi.drawn]
    return choice.judging(choose_protocol(contoured, [load_protocol(name) for name in packaged_protocols()]))


def case_of(study: Study, protocol: Protocol, choice: StudyChoice) -> Case:
    """The study without identity, named and prescribed by the protocol and the user."""
    return gated(load_case(study, protocol, choice.given), protocol, choice.allowed)


def gated(case: Case, protocol: Protocol, allowed: Collection[str] = ()) -> Case:
    """The case with what the gate doubts first among its problems, and no reference dose that is not its plan's.

    Raises InputError when the anatomy cannot be that of a patient of the site.
    """
    found = examine(case, protocol.site, allowed)
    raise_errors(found)
    wrong = reference_problem(case)
    if wrong is not None:
        message = f"{wrong.message} The RTDOSE is not compared with the prediction."
        found = (*found, warning(wrong.code, message, wrong.remedy))
        case = replace(case, reference_dose=None)
    return replace(case, problems=(*found, *case.problems))


def load_case_and_bundle(
    study: Study, protocol: Protocol, choice: StudyChoice, model: str | None
) -> tuple[Case, Bundle]:
    """The case, and the bundle called `model` or the protocol's own.

    Raises one InputError: the problems of the case come before the lack of a model.
    """
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


def prescribed(case: Case, protocol: Protocol, choice: StudyChoice) -> Case:
    """The case with the doses and fractions that the user gives in place of its own.

    Raises ConfigError for a name that is not a target of the protocol, InputError for a target that is not contoured.
    """
    if not choice.prescription_gy and choice.fractions is None:
        return case
    targets = [spec.name for spec in protocol.with_role("target")]
    for name in choice.prescription_gy:
        if name not in targets:
            known = ", ".join(targets)
            raise ConfigError(f"{name!r} is not a target of the protocol {protocol.name}; its targets are {known}")
    absent = [name for name in choice.prescription_gy if name not in case.structures]
    if absent:
        remedy = "Contour it or omit it."
        found = listed_within([s.roi_name for s in (*case.structures.values(), *case.unmapped)], 300)
        message = f"which is not contoured. ROIs found: {found}."
        raise InputError(Problem("TARGET_MISSING", f"A dose is given for {name}, {message}", remedy) for name in absent)
    own = case.prescription
    dose_gy = {**own.dose_gy, **choice.prescription_gy}
    source = f"{own.source}, changed by the caller"
    return replace(case, prescription=Prescription(dose_gy, choice.fractions or own.fractions, source))
