"""CaseRecord: what a cohort says of one case beside its arrays. No name, ID, date, UID, path or free text."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, StrictFloat, StrictInt, StringConstraints

from vmat_rt.case import Case, Prescription
from vmat_rt.cohort.settings import Key, PlainText
from vmat_rt.errors import Problem, warning
from vmat_rt.geometry.rasterize import bounds_mm, volume_cc
from vmat_rt.learned import Treatment
from vmat_rt.strict import Strict

Source = Literal["dicom", "images", "openkbp", "simulated"]
PlanType = Literal["sib", "single_level"]
PrescriptionSource = Literal["plan", "protocol default", "command line", "mixed", "OpenKBP", "SIMULATED", "other"]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Flag = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
StructureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_~!+-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]

NODAL_REACH_MM: Final = 45.0
"""A lower-dose target that reaches so much further up than the highest-dose one holds nodes: vesicles with their
margin end within about 30 mm of the prostate's, the iliac nodes' field 60 mm above it or more."""

_SOURCES: Final[dict[str, PrescriptionSource]] = {
    word.casefold(): word for word in ("plan", "protocol default", "command line", "OpenKBP", "SIMULATED")
}


class CaseOrigin(Strict):
    """What the case itself does not know of where it comes from.

    patient is shared by all cases of one person, under a name that means nothing outside the cohort. flags say what is
    unusual ("hip_prosthesis"). provenance holds what a repetition needs (seed, index, versions). nodal: None lets the
    targets' extent decide.
    """

    key: Key
    patient: Key
    source: Source
    image_sha256: Sha256 = ""
    flags: tuple[Flag, ...] = ()
    nodal: bool | None = None
    provenance: dict[Flag, PlainText | StrictInt | StrictFloat] = Field(default_factory=dict)


class CtSlices(Strict):
    """Where the CT had its slices: z of the first, distance between neighbours (LPS mm), and their number."""

    first_mm: float
    step_mm: float = Field(gt=0)
    count: int = Field(gt=0)


class CaseRecord(Strict):
    """One case, without its arrays. volumes_cc are those of the structures as read, before any grid.

    ct_slices are those of the CT as read, on which the structures were drawn: an export puts them there again.
    problems are the codes of warnings (docs/problems.md); their sentences may quote ROI names and stay outside.
    prescription: Gy in total by target. content_sha256 covers this record and the arrays; `Cohort.add` fills it in.
    """

    key: Key
    patient: Key
    source: Source
    protocol: PlainText
    plan_type: PlanType
    nodal: bool
    flags: tuple[Flag, ...] = ()
    problems: tuple[Code, ...] = ()
    image_sha256: Sha256 = ""
    volumes_cc: dict[StructureName, float]
    provenance: dict[Flag, PlainText | StrictInt | StrictFloat] = Field(default_factory=dict)
    gantry_angles_deg: tuple[float, ...] = ()
    prescription: dict[StructureName, Annotated[float, Field(gt=0)]]
    fractions: int = Field(gt=0)
    prescription_source: PrescriptionSource
    ct_slices: CtSlices | None = None
    content_sha256: Sha256 = ""

    @property
    def target_volume_cc(self) -> float:
        """Volume of the largest prescribed target, which in an SIB plan holds the others."""
        return max((self.volumes_cc[name] for name in self.prescription if name in self.volumes_cc), default=0.0)

    def prescribed(self) -> Prescription:
        """The prescription as a Case has it."""
        return Prescription(dict(self.prescription), self.fractions, self.prescription_source)

    def treatment(self) -> Treatment:
        """What a model that is trained on it learns of doses, fractions and sizes of targets."""
        present = {name: dose for name, dose in self.prescription.items() if name in self.volumes_cc}
        return Treatment(present, {name: self.volumes_cc[name] for name in present}, self.fractions)

    def warnings(self) -> tuple[Problem, ...]:
        """The warnings as a Case has them; what was found is known by its code alone."""
        return tuple(
            warning(code, "Noted when the case was added to its cohort.", "See docs/problems.md for this code.")
            for code in self.problems
        )


def describe(case: Case, origin: CaseOrigin, codes: tuple[str, ...] = ()) -> CaseRecord:
    """The record of a case as it was read, before it is put on a cohort's grid.

    codes are those of entry checks; the case's own warnings are added. Raises pydantic's ValidationError (a ValueError)
    when something would carry identity.
    """
    doses = set(case.targets().values())
    all_codes = (*(problem.code for problem in case.problems), *codes)
    z_mm, step_mm = case.ct.grid.origin_mm[0], case.ct.grid.spacing_mm[0]
    return CaseRecord(
        key=origin.key,
        patient=origin.patient,
        source=origin.source,
        protocol=case.protocol_name,
        plan_type="sib" if len(doses) > 1 else "single_level",
        nodal=_reaches_nodes(case) if origin.nodal is None else origin.nodal,
        flags=tuple(dict.fromkeys(origin.flags)),
        problems=tuple(dict.fromkeys(all_codes)),
        image_sha256=origin.image_sha256,
        volumes_cc=_measure_volumes_cc(case),
        provenance=origin.provenance,
        gantry_angles_deg=case.gantry_angles_deg,
        prescription=dict(case.prescription.dose_gy),
        fractions=case.prescription.fractions,
        prescription_source=prescription_source(case.prescription.source),
        ct_slices=CtSlices(first_mm=z_mm, step_mm=step_mm, count=case.ct.grid.shape[0]),
    )


def prescription_source(text: str) -> PrescriptionSource:
    """One of a few words for where a prescription was found; free text never passes."""
    words = {part.strip() for part in text.partition(" (fractions:")[0].casefold().split(",")}
    if not words <= _SOURCES.keys():
        return "other"
    return _SOURCES[words.pop()] if len(words) == 1 else "mixed"


def _measure_volumes_cc(case: Case) -> dict[str, float]:
    structures = {case.body.name or "External": case.body, **case.structures}
    return {name: round(volume_cc(s), 3) for name, s in structures.items() if s.shape is not None}


def _reaches_nodes(case: Case) -> bool:
    """Whether a target of a lower dose reaches NODAL_REACH_MM above the highest-dose one."""
    tops = {}
    for name, dose_gy in case.targets().items():
        structure = case.structures[name]
        if structure.shape is not None and volume_cc(structure) > 0:
            tops[name] = (dose_gy, bounds_mm(structure)[1][0])
    if not tops:
        return False
    highest = max(dose for dose, _ in tops.values())
    prime = max(top for dose, top in tops.values() if dose == highest)
    return bool(np.any([top - prime >= NODAL_REACH_MM for dose, top in tops.values() if dose < highest]))
