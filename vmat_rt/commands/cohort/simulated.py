"""`vmat-rt cohort simulate` and `restore`: patients made up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Never

import click

from vmat_rt.commands.cohort.options import EXISTING_FOLDER, NOTHING_USABLE, add_workers_option, cohort_option
from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, needs, print_json, say


@click.command(
    short_help="Make prostate patients up: anatomy, arc, dose.",
    epilog="Example: vmat-rt cohort simulate --n 100 --seed 1 --cohort simulated",
)
@click.option("--n", "number", type=click.IntRange(1), default=100, show_default=True, help="Cases in all.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the population.")
@cohort_option
@add_workers_option
@json_option
@guard
@needs("cohort")
def simulate(number: int, seed: int, uri: str, workers: int, as_json: bool) -> None:
    """Make prostate patients up: anatomy, arc, dose. SIMULATED, and said so everywhere. Goes on where it stopped."""
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.curation.intake.settings import derive_cohort_name
    from vmat_rt.curation.simulate import make_simulated_settings, simulate_cohort

    if Cohort.exists(uri):
        cohort = Cohort.open(uri)
    else:
        cohort = Cohort.create(uri, make_simulated_settings(derive_cohort_name(uri), number, seed))
    done = simulate_cohort(cohort, number, seed, workers, progress=not as_json)
    counts = {"added": len(done.added), "present": len(done.kept), "refused": len(done.refused)}
    problems = [_make_problem("PLAN_NOT_ACCEPTED", f"{key}: {why}", "Nothing.") for key, why in done.refused.items()]
    _print_batch(cohort.settings.name, counts, problems, as_json)


@click.command(
    short_help="Make a shipped simulated cohort again from its seeds.",
    epilog="Example: vmat-rt cohort restore --cohort prostate",
)
@click.argument("shipped", required=False, type=EXISTING_FOLDER)
@cohort_option
@add_workers_option
@json_option
@guard
@needs("cohort")
def restore(shipped: Path | None, uri: str, workers: int, as_json: bool) -> None:
    """Make a simulated cohort again from its seeds and packed doses: SHIPPED, by default the one that is installed.

    Every case is compared with what was shipped, by hash. Goes on where it stopped.
    """
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.curation.shipped import read_shipped, restore_cohort
    from vmat_rt.system.samples import COHORT, sample

    folder = shipped or sample(COHORT)
    cohort = Cohort.open(uri) if Cohort.exists(uri) else Cohort.create(uri, read_shipped(folder).settings)
    done = restore_cohort(folder, cohort, workers, progress=not as_json)
    refused = [key for key, problem in done.problems.items() if problem.severity == "error"]
    counts = {"added": len(done.restored), "present": len(done.kept), "refused": len(refused)}
    _print_batch(cohort.settings.name, counts, [problem.as_dict() for problem in done.problems.values()], as_json)


def _print_batch(name: str, counts: dict[str, int], problems: list[dict[str, str]], as_json: bool) -> Never:
    exit_code = 0 if counts["added"] + counts["present"] else NOTHING_USABLE
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "cohort": name, "counts": counts, "problems": problems}
        print_json({**document, "exit_code": exit_code})
    else:
        say(f"{name}: {counts['added']} added, {counts['present']} there already, {counts['refused']} refused")
        for problem in problems:
            say(f"  {problem['severity']}: {problem['message']} {problem['remedy']} [{problem['code']}]")
    sys.exit(exit_code)


def _make_problem(code: str, message: str, remedy: str) -> dict[str, str]:
    return {"code": code, "message": message, "remedy": remedy, "severity": "warning"}
