"""How much of the prior's dose a network's prediction should hold: `python benchmarks/prior_share.py RUN... COHORT`.

RUN is the folder of a run with a prior on coarser voxels (openkbp_cpu, prostate_cpu); of several, which differ in seed
alone, the networks' doses are averaged. They see each validation case once; then, for every share of the prior
(prior.share of the recipe), two ways back to the cohort's grid:

    dose          the network's dose is interpolated
    difference    its difference from the prior is, so that the prior's fine detail stays (prior.detail)

Means over the validation cases, as training gives them; these cases then have chosen the share, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from vmat_rt.bundle import load_bundle
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.cohort.store import Cohort
from vmat_rt.nn.coarse import refined_gy
from vmat_rt.nn.infer import Plan, run_network
from vmat_rt.nn.network_bundle import LoadedNetwork, unpack_network
from vmat_rt.train.material import Material, gather
from vmat_rt.train.recipe import load_recipe
from vmat_rt.train.validate import CaseScore, case_score, openkbp_score, summarise

WAYS = ("dose", "difference")


def predict_dose(loaded: LoadedNetwork, material: Material, key: str) -> FloatArray:
    """Relative, on the network's voxels."""
    example = material.examples[key]
    plan = Plan.of(material.network, material.channels)
    with torch.inference_mode():
        x = torch.from_numpy(np.array(example.array))[None].float()
        output = run_network(loaded.unet, x, torch.from_numpy(example.condition)[None], plan)
    return np.ascontiguousarray(output[0, 0].float().numpy())


def score_dose(material: Material, key: str, case: Case, dose: FloatArray) -> CaseScore:
    score = case_score(case, Volume(case.ct.grid, dose), material.table)
    score.key = key
    if material.cohort.record(key).source == "openkbp":
        score.openkbp = openkbp_score(case, dose, material.table)
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="run")
    parser.add_argument("cohort")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.65, 1.0])
    options = parser.parse_args()
    first: Path = options.runs[0]
    recipe = load_recipe(str(first / "recipe.yaml"))
    material = gather(recipe, Cohort.open(options.cohort), options.seed, first.parent / "cache")
    networks = [unpack_network(load_bundle(run)) for run in options.runs]
    scores: dict[tuple[str, float], list[CaseScore]] = {(way, share): [] for way in WAYS for share in options.shares}
    for key in material.validation:
        case, prior = material.cohort.read(key), material.examples.prior_gy(key)
        assert prior is not None, "this run has no prior"
        relative = np.mean([predict_dose(network, material, key) for network in networks], axis=0)
        highest = material.examples[key].encoded().highest_gy
        for way in WAYS:
            kept = prior if way == "difference" else None
            dose = refined_gy(relative, highest, case, case.ct.grid, recipe.coarsen, kept)
            for share in options.shares:
                scores[way, share].append(score_dose(material, key, case, dose + np.float32(share) * (prior - dose)))
    for (way, share), own in scores.items():
        print(f"{way:10} {share:4.2f}  " + "  ".join(f"{name} {value:.3f}" for name, value in summarise(own).items()))


if __name__ == "__main__":
    main()
