"""`vmat-rt train`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from vmat_rt.commands.common import guard, json_option, needs, print_json, say


@click.command(
    epilog="Example: vmat-rt train openkbp_cpu --cohort openkbp --out runs/first epochs=20 optimiser.lr=0.01\n\n"
    "Several machines: torchrun --nnodes 2 --nproc-per-node 4 ... -m vmat_rt.cli train ... on each. Then: "
    "vmat-rt predict STUDY --model RUN --out OUT"
)
@click.argument("recipe", metavar="RECIPE.yaml|NAME")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--cohort", "cohort_uri", required=True, metavar="DIR|URL", help="The cohort, with its splits.yaml.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the run.")
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True, help="Of the split and the training.")
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="GPUs, or CPU processes.")
@click.option("--from", "model", metavar="MODEL|DIR", help="Begin with this model's weights: recipe adapt, adapt_cpu.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT, exactly where its last checkpoint stands.")
@json_option
@guard
@needs("train")
def command(
    recipe: str,
    settings: tuple[str, ...],
    cohort_uri: str,
    out: Path,
    seed: int,
    devices: int,
    model: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a model on a cohort: recipe in, run folder with a bundle out.

    RECIPE is one that ships (a wrong name lists them) or a YAML file; KEY=VALUE changes single settings of it.
    """
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.train.devices import is_first_process
    from vmat_rt.train.loop import train
    from vmat_rt.train.recipe import load_recipe

    logging.getLogger("vmat_rt").setLevel(logging.INFO if is_first_process() else logging.WARNING)
    chosen = load_recipe(recipe, settings)
    if model is not None:
        chosen = chosen.begun_from(model)
    summary = train(chosen, Cohort.open(cohort_uri), out, seed, devices, resume)
    if not is_first_process():
        return
    if as_json:
        print_json(summary)
        return
    say(
        f"{summary['recipe']}: {summary['metric']} {summary['best']:.3f} after epoch {summary['best_epoch']} "
        f"of {summary['epochs']}; bundle in {out / 'bundle'}"
    )
