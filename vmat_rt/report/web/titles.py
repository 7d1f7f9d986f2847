"""What a page calls the doses of a case, and where it says SIMULATED."""

from __future__ import annotations

from vmat_rt.report.result import CaseResult

_SIMULATED = "simulated"


def title_doses(result: CaseResult) -> dict[str, str]:
    """What the page calls each dose: a simulated reference is not clinical."""
    reference = "Reference (simulated)" if result.case.reference_simulated else "Clinical"
    return {"predicted": "Predicted", "geometric baseline": "Geometric baseline", "clinical": reference}


def list_simulated(result: CaseResult) -> list[str]:
    """What is simulated about this report, as sentences; empty where nothing is."""
    said = []
    model = result.predicted.model
    if model is not None and _SIMULATED in model.trained_on.casefold():
        said.append("The model learned from SIMULATED patients and doses.")
    if result.case.reference_simulated:
        said.append("The reference dose is SIMULATED, not a clinical plan.")
    return said
