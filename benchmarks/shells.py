"""The goals of a study's targets with shells and without: python -m benchmarks.shells [STUDY_DIR [RTDOSE]]."""

from __future__ import annotations

import sys
from pathlib import Path

from vmat_rt.metrics.goals import GoalResult
from vmat_rt.metrics.grammar import parse_metrics
from vmat_rt.protocol import Protocol, load_protocol
from vmat_rt.study.choice import StudyChoice
from vmat_rt.study.dose_input import read_for_study
from vmat_rt.study.dose_review import DoseReview
from vmat_rt.study.review import review_study

METRICS = "D98%,D95%,D50%,D2%,Dmax,V95%,HI"
STUDY = Path("sample_data/prostate_simulated")


def without_shells(protocol: Protocol) -> Protocol:
    """The same protocol, in which every target is judged whole."""
    structures = tuple(spec.model_copy(update={"shell_margin_mm": None}) for spec in protocol.structures)
    return protocol.model_copy(update={"structures": structures})


def review(study: Path, dose: Path, protocol: Protocol) -> DoseReview:
    choice = StudyChoice(protocol=protocol)
    return review_study(study, read_for_study(dose), parse_metrics(METRICS), choice, all_rois=False)


def describe(goal: GoalResult) -> str:
    value = "-" if goal.value is None else f"{goal.value:.1f} {goal.unit}"
    return f"{value} {goal.status}"


def main() -> None:
    study = Path(sys.argv[1]) if len(sys.argv) > 1 else STUDY
    dose = Path(sys.argv[2]) if len(sys.argv) > 2 else study / "RTDOSE.dcm"
    names = {"prostate": "prostate_sib_70_56", "head_neck": "head_neck_70"}
    protocol = load_protocol(next(name for site, name in names.items() if study.name.startswith(site)))
    found, plain = review(study, dose, protocol), review(study, dose, without_shells(protocol))
    print(f"| volume | cc | {' | '.join(METRICS.split(','))} |")
    print("|---" * (2 + len(METRICS.split(","))) + "|")
    targets = {spec.name for spec in protocol.with_role("target")}
    labels = {shell.shell.label for shell in found.shells.values()}
    for name, dvh in {**found, **{of.shell.label: of.dvh for of in found.shells.values()}}.items():
        if name in targets | labels:
            values = [
                f"{v:.3f}" if m == "HI" else f"{v:.1f}"
                for m, v in dvh.values(METRICS.split(",")).items()
                if v is not None
            ]
            print(f"| {name} | {dvh.volume_cc:.1f} | {' | '.join(values)} |")
    print("\n| goal set | goal | shell | whole |\n|---|---|---|---|")
    for goal_set, goals in found.goals.items():
        for shell, whole in zip(goals, plain.goals[goal_set], strict=True):
            if shell.judged_on in labels:
                print(f"| {goal_set} | {shell.stated} | {describe(shell)} | {describe(whole)} |")


if __name__ == "__main__":
    main()
