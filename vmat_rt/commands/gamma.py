"""`vmat-rt gamma`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, protocol_option, say
from vmat_rt.commands.progress import show_steps

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="Example: vmat-rt gamma demo/study/RTDOSE.dcm demo/out/*/rtdose.dcm "
    "--study demo/study --png gamma.png --json"
    "\n\nStudy and dose are those that vmat-rt demo leaves."
)
@click.argument("reference", type=_FILE)
@click.argument("evaluation", type=_FILE)
@click.option("--dose-percent", default=3.0, show_default=True, help="Dose criterion, % of the reference maximum.")
@click.option("--distance-mm", default=3.0, show_default=True, help="Distance criterion.")
@click.option("--cutoff-percent", default=10.0, show_default=True, help="Lower dose cutoff, % of the maximum.")
@click.option("--max-gamma", default=2.0, show_default=True, help="Where the search ends.")
@click.option("--interpolation-mm", type=float, help="Step of the search. Default: a tenth of the distance.")
@click.option("--local", is_flag=True, help="Dose criterion of each point's own dose (local gamma).")
@click.option(
    "--study",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also give pass rates by structure (targets + 5 mm too) of this study's RTSTRUCT.",
)
@protocol_option
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda[:n]", help="Where to search.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write the gamma map as a picture.")
@json_option
@guard
@show_steps
def command(reference: Path, evaluation: Path, as_json: bool, **options: Any) -> None:
    """Gamma index of the RTDOSE file EVALUATION against the RTDOSE file REFERENCE, and pass rates.

    Doses that cannot be compared (nothing above the cutoff, values that are not numbers) are "not evaluable".
    """
    from vmat_rt.metrics.gamma.index import GammaCriteria
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.study.review import gamma_of_files

    criteria = GammaCriteria(
        options["dose_percent"],
        options["distance_mm"],
        options["cutoff_percent"],
        options["local"],
        options["max_gamma"],
        options["interpolation_mm"],
    )
    name = options["protocol_name"]
    choice = StudyChoice(protocol=load_protocol(name) if name else None)
    result, regions, problems = gamma_of_files(
        reference, evaluation, criteria, options["study"], choice, options["device"]
    )
    if options["png"]:
        from vmat_rt.report.gamma_figure import write_gamma_figure
        from vmat_rt.system.steps import announced

        with announced("picture"):
            write_gamma_figure(result, options["png"])
    if as_json:
        told = [problem.as_dict() for problem in problems]
        print_json({"schema_version": SCHEMA_VERSION, **result.as_dict(regions), "problems": told})
        return
    say(f"gamma {criteria.label}")
    for region, summary in {"all points": result.summary, **regions}.items():
        rate, mean = summary.pass_rate_percent, summary.mean
        if rate is None or mean is None:
            say(f"  {region:<24} not evaluable: {summary.reason}")
        else:
            say(f"  {region:<24} {rate:6.2f} % pass, mean {mean:.3f}, {summary.points_evaluated} points")
    for problem in problems:
        say(f"{problem.severity}: {problem.message} {problem.remedy} [{problem.code}]")
