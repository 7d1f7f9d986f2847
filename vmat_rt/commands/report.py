"""`vmat-rt report`."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: vmat-rt report results --cohort clinic --run runs/mse-42 --run runs/mse-123 --out page")
@click.argument("evaluations", nargs=-1, required=True, type=_FOLDER, metavar="EVALUATION...")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the report.")
@click.option("--cohort", metavar="DIR|URL", help="The cohort that was evaluated: CT and reference dose for pictures.")
@click.option("--run", "runs", multiple=True, type=_FOLDER, help="A training run: its curves and settings. Repeat it.")
@click.option("--model", metavar="NAME", help="The model that pictures show. Default: the one with the lowest MAE.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:n]", help="Where doses are predicted again.")
@json_option
@guard
def command(
    evaluations: tuple[Path, ...],
    out: Path,
    cohort: str | None,
    runs: tuple[Path, ...],
    model: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Report on evaluations as one HTML page, with its figures beside it as PNG and PDF.

    EVALUATION is a folder of `vmat-rt evaluate`. Several are put together; the first model is what the others are
    compared with. The page needs no network and no script.
    """
    from vmat_rt.evaluate.report import Asked, report_evaluations
    from vmat_rt.system.extras import require

    if cohort is not None:
        require("cohort", what="--cohort")
    written = report_evaluations(Asked(evaluations, runs, cohort, model, device), out)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "files": [str(path.relative_to(out)) for path in written]})
    else:
        say(f"{written[0]} and {len(written) - 1} figures")
