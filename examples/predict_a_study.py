"""Predict the dose of one study, and print its planning goals and DVH metrics.

    python examples/predict_a_study.py                          # a simulated prostate study that comes with the project
    python examples/predict_a_study.py STUDY_DIR --out OUT      # your own; OUT/<case>/ gets RTDOSE, RTPLAN and report

PREDICTED, NOT FOR TREATMENT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vmat_rt

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data" / "prostate_simulated"
METRICS = ("D95%", "Dmean", "D0.03cc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default=SAMPLE, help="folder with CT and RTSTRUCT")
    parser.add_argument("--out", help="folder for the results; without it nothing is written")
    parser.add_argument("--model", help="a model by name (`vmat-rt models` lists them) or folder")
    options = parser.parse_args()

    prediction = vmat_rt.predict(options.study, options.out, model=options.model)

    print(f"{prediction.notice}: model {prediction.model.name} {prediction.model.version}")
    print(f"dose {prediction.dose_gy.shape} voxels of {prediction.spacing_mm} mm (z, y, x), in Gy")
    shells = {of.shell.label: of.dvh for of in prediction.shells.values()}
    for name, dvh in {**prediction.dvhs, **shells}.items():
        values = (f"{metric} {value:6.2f} Gy" for metric, value in dvh.values(METRICS).items() if value is not None)
        print(f"  {name:<14} {dvh.volume_cc:9.1f} cc  {'  '.join(values)}")
    for goal_set, goals in prediction.goals.items():
        print(goal_set)
        for goal in goals:
            found = "-" if goal.value is None else f"{goal.value:.1f} {goal.unit}"
            whole = "" if goal.whole_value is None else f" (of the whole {goal.whole_value:.1f} {goal.unit})"
            where = "" if goal.judged_on in ("", goal.structure) else f" of {goal.judged_on}"
            print(f"  {goal.status:<14} {goal.stated}: {goal.metric}{where} is {found}{whole}")
    for problem in prediction.problems:
        print(f"{problem.severity}: {problem.message} {problem.remedy}")
    for kind, path in prediction.files.items():
        print(f"{kind:>12}  {path}")


if __name__ == "__main__":
    main()
