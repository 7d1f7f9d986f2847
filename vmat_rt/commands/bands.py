"""`vmat-rt bands`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, needs, print_json, say
from vmat_rt.system.cores import usable_cores

if TYPE_CHECKING:
    from vmat_rt.evaluate.calibrate import Coverage
    from vmat_rt.evaluate.subjects import CaseChoice

_SPLITS = ("unseen", "validation", "test", "outliers", "all")
_cohort = click.option("--cohort", "uri", required=True, metavar="DIR|URL", help="The cohort, with its splits.yaml.")
_split = click.option("--split", type=click.Choice(_SPLITS), default="unseen", show_default=True, help="Its part.")
_seed = click.option("--seed", type=click.IntRange(0), help="Of the split. Default: a run's own.")
_workers = click.option(
    "--workers", type=click.IntRange(1, 256), default=usable_cores, show_default="one a core", help="Processes."
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: vmat-rt bands make runs/mse-42 --cohort clinic --split validation",
)
def command() -> None:
    """Intervals that hold what they promise: made from, and judged on, cases that a model has not seen."""


@command.command(epilog="Example: vmat-rt bands make runs/mse-42 --cohort clinic")
@click.argument("model", metavar="MODEL|DIR")
@_cohort
@_split
@_seed
@_workers
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file. Default: calibration.json in the model's folder, where predict finds it.",
)
@json_option
@guard
@needs("cohort")
def make(model: str, uri: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Predict cases that MODEL has not seen, and keep what it got wrong: the calibration of its bands.

    At least 20 cases with a structure are needed for its bands.
    """
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.evaluate.calibrate import judge_bands, make_calibration
    from vmat_rt.evaluate.curves import measure_curves
    from vmat_rt.trust.calibration import FILE, write_calibration

    choice = _choose(uri, options)
    subject, cases = measure_curves(model, choice, options["workers"])
    seed = "" if options["seed"] is None else f" --seed {options['seed']}"
    line = f"vmat-rt bands make {subject.name} --cohort {choice.cohort.settings.name} --split {choice.split}{seed}"
    calibration = make_calibration(subject, Cohort.open(uri), cases, line)
    place = subject.bundle.folder / FILE if out is None else out
    write_calibration(place, calibration)
    _show(judge_bands(calibration, calibration.cases), as_json, f"each case judged by the others; wrote {place}")


@command.command(epilog="Example: vmat-rt bands check runs/mse-42 --cohort other_clinic --split all")
@click.argument("model", metavar="MODEL|DIR")
@_cohort
@_split
@_seed
@_workers
@json_option
@guard
@needs("cohort")
def check(model: str, uri: str, as_json: bool, **options: Any) -> None:
    """Say how often the bands of MODEL hold on cases of a cohort, and how wide they are."""
    from vmat_rt.bundle import find_bundle
    from vmat_rt.errors import ConfigError
    from vmat_rt.evaluate.calibrate import judge_bands
    from vmat_rt.evaluate.curves import measure_curves
    from vmat_rt.study.bands import find_calibration

    choice = _choose(uri, options)
    bundle = find_bundle(choice.cohort.settings.protocol, model)
    calibration, problems = find_calibration(bundle)
    if calibration is None:
        reason = problems[0].message if problems else f"{bundle.manifest.name} has no calibration"
        raise ConfigError(f"{reason}; make one with vmat-rt bands make")
    _, cases = measure_curves(model, choice, options["workers"])
    _show(judge_bands(calibration, cases), as_json, f"{len(cases)} cases by {len(calibration.cases)} others")


def _choose(uri: str, options: dict[str, Any]) -> CaseChoice:
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.evaluate.subjects import CaseChoice

    return CaseChoice(Cohort.open(uri), options["split"], options["seed"])


def _show(rows: list[Coverage], as_json: bool, note: str) -> None:
    from dataclasses import asdict

    if as_json:
        entries = [{**asdict(row), "percent": row.percent} for row in rows]
        print_json({"schema_version": SCHEMA_VERSION, "structures": entries, "note": note})
        return
    say(f"{'structure':<18} {'held':>13} {'width':>9} {'constant':>9}")
    for row in rows:
        share = f"{row.percent:.1f} % of {row.judged}"
        say(f"{row.structure:<18} {share:>13} {row.width_gy:>6.2f} Gy {row.constant_width_gy:>6.2f} Gy")
    if not rows:
        say("no structure has the 20 cases that a band needs")
    say(note)
