"""OpenKBP's patients as a cohort store, with the published split, for `vmat-rt train` and `vmat-rt evaluate`.

    python tools/openkbp_cohort.py OPENKBP_FOLDER --cohort C [--seeds 42 123 456] [--workers 2]
        [--hold-back tools/openkbp_held_back.txt]

OPENKBP_FOLDER holds train/, validation/ and read_openkbp.py. Training patients are trained on, validation patients
choose; there is no test part here, unless --hold-back names training patients (one key per line) on whom nothing is
learned or chosen: they become it. Twenty such are listed in openkbp_held_back.txt, those of the training patients
whose key after the line "held back" has the lowest SHA-256. Patients that are in the cohort already are kept, so that
it can be resumed and split anew. From the official CSV files `vmat-rt cohort openkbp` makes the same cohort.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from vmat_rt.cohort.split import make_given_split
from vmat_rt.curation.intake.openkbp import add_openkbp_cases, open_openkbp_cohort

SPLITS = ("train", "validation")


def list_keys(reader: ModuleType, root: Path, split: str) -> list[str]:
    return [f"pt-{number}" for number, _ in reader.list_patients(str(root), split)]


def read_patients(reader: ModuleType, root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for split in SPLITS:
        for number, path in reader.list_patients(str(root), split):
            yield f"pt-{number}", reader.read_patient(path)


def held_back(path: Path, train: list[str]) -> list[str]:
    """The keys in a file, one per line. Raises SystemExit where one of them is not a training patient."""
    listed = path.read_text("utf-8").split()
    unknown = sorted(set(listed) - set(train))
    if unknown:
        raise SystemExit(f"{path} names {', '.join(unknown)}, of whom none is a training patient of this cohort")
    return listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 123, 456])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--hold-back", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.openkbp))
    reader = importlib.import_module("read_openkbp")
    cohort = open_openkbp_cohort(options.cohort)
    summary = add_openkbp_cases(read_patients(reader, options.openkbp), cohort, options.workers, progress=True)
    present = set(cohort.keys())
    train, validation = (
        [key for key in list_keys(reader, options.openkbp, split) if key in present] for split in SPLITS
    )
    test = held_back(options.hold_back, train) if options.hold_back else []
    splits = make_given_split(cohort, options.seeds, [key for key in train if key not in test], validation, test)
    splits.write(cohort)
    refused = sum(outcome.state == "refused" for outcome in summary.outcomes)
    print(f"{len(present)} patients, {refused} refused, split {splits.sha256[:12]}")


if __name__ == "__main__":
    main()
