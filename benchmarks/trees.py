"""Our evaluation of the trees against that of LightGBM, on a whole case: `python benchmarks/trees.py COHORT CASE`.

Both get the same features, take turns, and must agree to the last bit. Processor seconds, the best of --repeat.
"""

from __future__ import annotations

import argparse
import lzma
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
from numpy.typing import NDArray

from vmat_rt.baseline.boosting import TREES
from vmat_rt.baseline.features import compute_features
from vmat_rt.baseline.scene import FeatureSettings
from vmat_rt.baseline.trees import Trees
from vmat_rt.bundle import find_bundle
from vmat_rt.cohort.store import Cohort


def time_processor_s(work: Callable[[], NDArray[np.float64]]) -> tuple[float, NDArray[np.float64]]:
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("case")
    parser.add_argument("--model", default="prostate_geometric")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    case = Cohort.open(options.cohort).read(options.case)
    bundle = find_bundle("", options.model)
    table = compute_features(case, case.ct.grid, FeatureSettings.model_validate(bundle.manifest.settings["features"]))
    text = lzma.decompress(bundle.read_bytes(TREES)).decode("ascii")
    trees, booster = Trees.parse(text), lightgbm.Booster(model_str=text)
    trees.predict(table.matrix[:1])  # compiled
    ours, theirs = [], []
    for _ in range(options.repeat):
        seconds, one = time_processor_s(lambda: trees.predict(table.matrix, 2))
        ours.append(seconds)
        seconds, other = time_processor_s(lambda: np.asarray(booster.predict(table.matrix, num_threads=2)))
        theirs.append(seconds)
        assert np.array_equal(one, other)
    print(f"{len(table.matrix)} voxels, {booster.num_trees()} trees, the same to the last bit")
    print(f"vmat-rt {min(ours):.1f} s, LightGBM {min(theirs):.1f} s: {min(theirs) / min(ours):.1f} x")


if __name__ == "__main__":
    main()
