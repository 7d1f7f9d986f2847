"""What the values of an RTDOSE mean: whether they are the physical dose of a whole plan (PS3.3 C.8.8.3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.errors import Problem, warning

WHOLE_PLAN_TYPES = ("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "")
"""DoseSummationType of a dose that may be a whole plan's."""
_PARTS = {
    "BEAM": "one beam",
    "BEAM_SESSION": "one beam of a session",
    "BRACHY": "a brachytherapy application",
    "BRACHY_SESSION": "a brachytherapy session",
    "CONTROL_POINT": "control points of a beam",
    "FRACTION": "a fraction group",
    "FRACTION_SESSION": "a fraction session",
    "RECORD": "treatment records",
}
EXPORT_SUM = (
    "Export the RTDOSE of the whole plan (DoseSummationType PLAN, DoseType PHYSICAL), in Gy over all fractions."
)


@dataclass(frozen=True)
class DoseMeaning:
    """DoseType, DoseSummationType and the plans that an RTDOSE names, as written, or "" and ()."""

    dose_type: str = ""
    summation_type: str = ""
    plan_uids: tuple[str, ...] = ()

    @property
    def is_physical(self) -> bool:
        return self.dose_type in ("PHYSICAL", "")

    @property
    def is_whole_plan(self) -> bool:
        return self.summation_type in WHOLE_PLAN_TYPES

    def describe(self) -> str:
        """What kind of dose it is: "physical dose of a whole plan"."""
        kind = "physical" if self.is_physical else f"{self.dose_type[:16].lower()}"
        if self.summation_type == "MULTI_PLAN":
            return f"{kind} dose of several plans"
        whole = "a whole plan" if self.is_whole_plan else _PARTS.get(self.summation_type, "something else than a plan")
        return f"{kind} dose of {whole}"

    def problems(self) -> tuple[Problem, ...]:
        """Warnings where the values are not the physical dose of one whole plan."""
        found = []
        if not self.is_physical:
            message = (
                f"The RTDOSE is a biologically effective dose (DoseType {self.dose_type[:16]}), not a physical one."
            )
            found.append(warning("DOSE_EFFECTIVE", f"{message} Goals are not judged on it.", EXPORT_SUM))
        if not self.is_whole_plan:
            part = _PARTS.get(self.summation_type, "something else than a plan")
            message = (
                f"The RTDOSE is that of {part} (DoseSummationType {self.summation_type[:16]}), not of a whole plan."
            )
            found.append(warning("DOSE_NOT_WHOLE_PLAN", f"{message} Goals are not judged on it.", EXPORT_SUM))
        if self.summation_type == "MULTI_PLAN" or len(self.plan_uids) > 1:
            message = f"The RTDOSE is the sum of {max(2, len(self.plan_uids))} plans or more."
            found.append(warning("DOSE_OF_SEVERAL_PLANS", message, "Check that the prescription is that of the sum."))
        return tuple(found)


def difference_problems(reference: DoseMeaning, evaluation: DoseMeaning) -> tuple[Problem, ...]:
    """A warning where two doses that are compared are not of one kind."""
    first, second = reference.describe(), evaluation.describe()
    if first == second:
        return ()
    message = f"The reference is a {first}, the evaluation a {second}: a difference need not be one of calculation."
    return (warning("DOSES_UNLIKE", message, "Compare doses of the same DoseType and DoseSummationType."),)


def meaning_of(dose: Attributes) -> DoseMeaning:
    """What an RTDOSE says of itself."""
    plans = tuple(item.text("ReferencedSOPInstanceUID") for item in dose.items("ReferencedRTPlanSequence"))
    return DoseMeaning(dose.text("DoseType").upper(), dose.text("DoseSummationType").upper(), plans)
