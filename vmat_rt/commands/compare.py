"""`vmat-rt compare`."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say


@click.command(epilog="Example: vmat-rt compare baseline/results.csv combined/results.csv --json")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@json_option
@guard
def command(results: tuple[Path, ...], as_json: bool) -> None:
    """Compare evaluation results: mean +- SD over cases, bootstrap intervals, paired tests with Holm correction.

    RESULTS are tidy files with the columns model, seed, case, metric, value. The first model is what the others are
    compared with. The case is the unit: seeds are averaged first. Of an evaluation, metrics are tested of which one
    direction is better; the others are described.
    """
    from vmat_rt.metrics.statistics.compare import compare_results

    comparison = compare_results(list(results))
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, **comparison.as_dict()})
    else:
        say(comparison.as_text())
