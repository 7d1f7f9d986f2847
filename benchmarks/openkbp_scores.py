"""The two OpenKBP scores of models on one part of a cohort, and nothing else: a tenth of what `vmat-rt evaluate` takes.

    python benchmarks/openkbp_scores.py MODEL... --cohort C --split validation|test [--shares 0 0.3 0.5]

MODEL is an installed model's name, a run or a bundle. Of a network with a prior the prior's own scores are printed too,
and for every further share of the prior in its dose (--shares) those of the mixture.
"""

from __future__ import annotations

import argparse

import numpy as np

from vmat_rt.bundle import find_bundle
from vmat_rt.case import FloatArray
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.metrics.openkbp_score import PatientScore, combine_scores
from vmat_rt.prediction import load_predictor
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import structure_table
from vmat_rt.train.validate import openkbp_score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="model")
    parser.add_argument("--cohort", required=True)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--shares", type=float, nargs="*", default=[])
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    protocol = load_protocol(cohort.settings.protocol)
    table = structure_table(protocol)
    keys = Splits.read(cohort).cases(options.split, options.seed)
    for model in options.models:
        bundle = find_bundle(protocol.name, model)
        predictor = load_predictor(bundle, "cpu")
        share = float(bundle.manifest.settings.get("prior_share", 0.0))
        scores: dict[str, list[PatientScore]] = {}
        for key in keys:
            case = cohort.read(key)
            predicted = predictor.predict(case, case.ct.grid)
            doses: dict[str, FloatArray] = {"as it is": predicted.dose.array}
            if predicted.prior is not None:
                prior = predicted.prior.array
                alone = (doses["as it is"] - np.float32(share) * prior) / np.float32(1 - share)
                doses["its prior"] = prior
                doses |= {
                    f"share {part:g}": alone + np.float32(part) * (prior - alone).astype(np.float32)
                    for part in options.shares
                }
            for name, dose in doses.items():
                scores.setdefault(name, []).append(openkbp_score(case, dose, table))
        for name, own in scores.items():
            found = combine_scores(own)
            print(f"{model} {name}: {found.dose_score_gy:.3f} / {found.dvh_score_gy:.3f} on {len(own)}", flush=True)


if __name__ == "__main__":
    main()
