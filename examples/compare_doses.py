"""Compare two doses of one study: DVH metrics side by side, and the gamma index.

    python examples/compare_doses.py                                    # the sample's own dose and a prediction
    python examples/compare_doses.py STUDY_DIR REFERENCE EVALUATION     # two RTDOSE files of your own

Both doses are shown over the structures of the study's RTSTRUCT. A prediction is NOT FOR TREATMENT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vmat_rt

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data" / "prostate_simulated"
METRICS = ("D95%", "Dmean", "D0.03cc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default=SAMPLE, help="folder with the RTSTRUCT; CT is not needed")
    parser.add_argument("reference", nargs="?", help="RTDOSE file; by default STUDY/RTDOSE.dcm")
    parser.add_argument("evaluation", nargs="?", help="RTDOSE file; by default the study is predicted")
    parser.add_argument("--model", help="what predicts, by name (`vmat-rt models` lists them) or folder")
    options = parser.parse_args()
    reference = options.reference or Path(options.study) / "RTDOSE.dcm"
    evaluation = options.evaluation or vmat_rt.predict(options.study, model=options.model)

    first = vmat_rt.dvh(options.study, reference, METRICS)
    second = vmat_rt.dvh(options.study, evaluation, METRICS)
    print(f"{'Gy':<14}" + "".join(f"{metric:>26}" for metric in METRICS))
    for name in first:
        pairs = [(first[name].value(metric), second[name].value(metric)) for metric in METRICS]
        shown = ("-" if a is None or b is None else f"{a:.2f} -> {b:.2f} ({b - a:+.2f})" for a, b in pairs)
        print(f"{name:<14}" + "".join(f"{text:>26}" for text in shown))

    gamma = vmat_rt.gamma(reference, evaluation, dose_percent=3, distance_mm=3)
    if gamma.pass_rate_percent is None:
        print(f"gamma {gamma.criteria.label}: {gamma.status}, {gamma.reason}")
    else:
        print(f"gamma {gamma.criteria.label}: {gamma.pass_rate_percent:.1f} % of {gamma.points_evaluated} points pass")
    for problem in (*second.problems, *gamma.problems):
        print(f"{problem.severity}: {problem.message}")


if __name__ == "__main__":
    main()
