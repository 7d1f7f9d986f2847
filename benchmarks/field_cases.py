"""Field situations, by what is said of them: `python benchmarks/field_cases.py CASES [CASE ...]`.

CASES holds folders CASE/study*, with doses for `vmat-rt dvh` beside them (CASE/*.dcm): changed copies of the simulated
prostate sample. Printed for each study and dose: errors and warnings by code, the prescription, and the highest
target's volume and D95%. Whether that is right is for a person, or for the expectations beside the cases, to say.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmat_rt.errors import InputError, Problem
from vmat_rt.metrics.grammar import parse_metric
from vmat_rt.report.schema import InspectedStudy, ProblemEntry
from vmat_rt.study.choice import StudyChoice
from vmat_rt.study.inspection import inspect_folder
from vmat_rt.study.review import dvh_document

TARGET = "PTV_7000"


def list_rows(cases: Path, wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(case and object, what is said of it)."""
    names = tuple(wanted)
    for case in sorted(path for path in cases.iterdir() if path.is_dir()):
        if names and not case.name.startswith(names):
            continue
        studies = sorted(case.glob("study*"))
        for study in studies:
            yield f"{case.name}/{study.name}", describe_study(study)
        for dose in [*sorted(case.glob("*.dcm")), *(s / "RTDOSE.dcm" for s in studies if (s / "RTDOSE.dcm").is_file())]:
            yield f"{case.name}: dvh of {dose.name}", describe_dose(studies[0], dose)


def describe_study(study: Path) -> str:
    try:
        (found, *more) = inspect_folder(study, StudyChoice()).studies
    except InputError as refusal:
        return describe(refusal.problems)
    parts = [describe(found.problems), describe_target(found)]
    if found.prescription is not None:
        doses = "/".join(f"{dose:g}" for dose in found.prescription.dose_gy.values())
        parts.append(f"{doses} Gy in {found.prescription.fractions}")
    return ", ".join(part for part in (*parts, f"{len(more) + 1} studies" if more else "") if part)


def describe_target(study: InspectedStudy) -> str:
    volumes = [entry.volume_cc for entry in study.structures if entry.name == TARGET and entry.volume_cc is not None]
    return f"{TARGET} {volumes[0]:.2f} cc" if volumes else ""


def describe_dose(study: Path, dose: Path) -> str:
    try:
        document = dvh_document(study, dose, (parse_metric("D95%"),), StudyChoice(), all_rois=False)
    except InputError as refusal:
        return describe(refusal.problems)
    targets = [entry for entry in document.structures if entry.name == TARGET]
    d95 = "".join(f"D95% {e.metrics['D95%']:.2f} Gy, {e.volume_cc:.2f} cc, " for e in targets if e.metrics["D95%"])
    return f"{d95}{len(document.goals)} goals judged, {describe(document.problems)}"


def describe(problems: Iterable[Problem | ProblemEntry]) -> str:
    """Errors, then warnings, each code once."""
    listed = [(p.severity, p.code) for p in problems]
    errors = dict.fromkeys(code for severity, code in listed if severity == "error")
    warnings = dict.fromkeys(code for severity, code in listed if severity == "warning")
    parts = [f"refused: {', '.join(errors)}" if errors else "", f"warned: {', '.join(warnings)}" if warnings else ""]
    return "; ".join(part for part in parts if part) or "nothing said"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("names", nargs="*", help="the first letters of some cases")
    options = parser.parse_args()
    started = time.perf_counter()
    print("| case | outcome |\n|---|---|")
    for name, outcome in list_rows(options.cases, options.names):
        print(f"| {name} | {outcome} |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
