"""`vmat-rt predict`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from vmat_rt.commands.common import (
    guarded,
    json_option,
    prescription_options,
    print_json,
    protocol_option,
    series_option,
    structures_option,
)

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID = 64
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def _percentages(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[float, ...]:
    if not value:
        return ()
    try:
        levels = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of percentages such as 95,50") from error
    if not all(0 < level <= 150 for level in levels):
        raise click.BadParameter("isodose levels lie between 0 and 150 percent of the highest prescription")
    return levels


def _uid(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (len(value) <= _LONGEST_UID and _UID.fullmatch(value)):
        raise click.BadParameter(f"{value!r} is no DICOM UID: numbers without leading zeros joined by dots")
    return value


def _device(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda and cuda:<number>")
    return value


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:n]",
    callback=_device,
    help="Where a network runs.",
)


@click.command(
    epilog="Example: vmat-rt predict demo/study --out out\n\n"
    "Writes OUT/<case>/{rtdose.dcm, rtplan.dcm, report.html, report.json, dvh.csv}. The study is the one that "
    "vmat-rt demo leaves there."
)
@click.argument("study_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@protocol_option
@click.option("--model", metavar="NAME|DIR", help="A bundle by name or folder. Default: the protocol's own.")
@structures_option
@series_option
@prescription_options
@click.option(
    "--plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Attach to this RTPLAN file."
)
@click.option(
    "--plan-uid", metavar="UID", callback=_uid, help="Attach the dose to the RTPLAN with this SOP Instance UID."
)
@click.option("--bits", type=click.Choice(["16", "32"]), default="16", show_default=True, help="Bits of a dose voxel.")
@click.option("--isodose", metavar="95,50", callback=_percentages, help="Also write an RTSTRUCT of these isodoses (%).")
@click.option("--identify", is_flag=True, help="Put the patient's name and ID into the report.")
@device_option
@json_option
@guarded
def command(study_dir: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Predict the dose of one study: RTDOSE, companion RTPLAN and report.

    STUDY_DIR holds one patient's CT and RTSTRUCT (flat or nested; RTPLAN and RTDOSE are used when they are there).
    """
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.predict import Outputs, StudyChoice, predict_study

    if options["plan"] and options["plan_uid"]:
        raise click.UsageError("give --plan or --plan-uid, not both")
    name = options["protocol_name"]
    choice = StudyChoice(
        structures_uid=options["structures_uid"],
        series_uid=options["series_uid"],
        protocol=load_protocol(name) if name else None,
        prescription_gy=options["prescription"],
        fractions=options["fractions"],
    )
    outputs = Outputs(
        plan=options["plan"],
        plan_uid=options["plan_uid"],
        bits=32 if options["bits"] == "32" else 16,
        isodose_percent=options["isodose"],
        identify=options["identify"],
    )
    published = predict_study(study_dir, out, choice, outputs, options["model"], options["device"])
    if as_json:
        print_json(published.document().model_dump(mode="json"))
        return
    click.echo(published.summary())
