"""Training and validation error by run: `python benchmarks/training_curves.py RUN... --cohort C --png FILE`.

RUN is the folder of a run on OpenKBP. Drawn over the epochs are the loss l1 of each step's patients, augmented and on
the network's voxels, in Gy, and the validation cases' dose score; the marks at the right are the kept weights' dose
scores on the first --cases training patients (who see the doses of trees that were fitted without them) and on all
validation cases, the network alone, without the share of the trees. These are printed, with the DVH scores; with
--cases 0 nothing is predicted, and the curves alone are drawn.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vmat_rt.bundle import load_bundle
from vmat_rt.cohort.store import Cohort
from vmat_rt.nn.infer import Plan
from vmat_rt.nn.network_bundle import unpack_network
from vmat_rt.train.material import gather
from vmat_rt.train.recipe import load_recipe
from vmat_rt.train.validate import Validator, summarise

HIGHEST_GY = 70.0
"""One unit of a relative dose, in every OpenKBP patient."""

SCORES = ("openkbp_dose_score", "openkbp_dvh_score")
Pair = tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """What one run did: (epoch, Gy) of training and validation, and its kept weights' dose and DVH scores."""

    name: str
    training: list[Pair]
    validation: list[Pair]
    kept: tuple[Pair, Pair] | None


def history(run: Path) -> tuple[list[Pair], list[Pair]]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    training = [(int(row["epoch"]) + 1.0, HIGHEST_GY * float(row["loss_l1"])) for row in rows]
    scored = [row for row in rows if row.get(SCORES[0])]
    return training, [(int(row["epoch"]) + 1.0, float(row[SCORES[0]])) for row in scored]


def curves(run: Path, cohort: Cohort, cases: int, seed: int) -> Curves:
    kept = kept_scores(run, cohort, cases, seed) if cases else None
    return Curves(run.name, *history(run), kept)


def kept_scores(run: Path, cohort: Cohort, cases: int, seed: int) -> tuple[Pair, Pair]:
    """Dose and DVH scores of the kept weights on training and on validation cases."""
    material = gather(load_recipe(run / "recipe.yaml"), cohort, seed, run.parent / "cache")
    settings = material.network.model_copy(update={"prior_share": 0.0})
    plan = Plan.of(settings, material.channels)
    validator = Validator(material.examples, material.table, settings, plan)
    network = unpack_network(load_bundle(run)).unet

    def scored(keys: Sequence[str]) -> Pair:
        with torch.inference_mode():
            found = summarise([validator.score(network, key, torch.device("cpu")) for key in keys])
        return found[SCORES[0]], found[SCORES[1]]

    return scored(material.train[:cases]), scored(material.validation)


def drawn(runs: Sequence[Curves]) -> Figure:
    figure = Figure(figsize=(9, 5.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    last = max(epoch for run in runs for epoch, _ in run.training)
    for index, run in enumerate(runs):
        colour = f"C{index}"
        axes.plot(*zip(*run.training, strict=True), colour, linewidth=1, linestyle="--")
        axes.plot(*zip(*run.validation, strict=True), colour, marker="o", markersize=4, label=run.name)
        if run.kept is not None:
            place, (training, validation) = last + 1 + 0.6 * index, run.kept
            axes.plot([place, place], [training[0], validation[0]], colour, linewidth=1)
            axes.plot(place, training[0], colour, marker="_", markersize=14)
            axes.plot(place, validation[0], colour, marker="o", markersize=6)
    axes.set_xlabel(
        "epoch" if all(run.kept is None for run in runs) else "epoch; right: kept weights, the network alone"
    )
    axes.set_ylabel("dose error, Gy")
    axes.set_title("dashes: training patients, circles: validation patients", fontsize=10)
    axes.set_ylim(top=min(4.5, axes.get_ylim()[1]))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="run")
    parser.add_argument("--cohort", required=True)
    parser.add_argument("--png", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=33)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    found = [curves(run, cohort, options.cases, options.seed) for run in options.runs]
    for run in found:
        if run.kept is not None:
            print(run.name, *("{:.3f} / {:.3f}".format(*pair) for pair in run.kept))
    drawn(found).savefig(options.png)


if __name__ == "__main__":
    main()
