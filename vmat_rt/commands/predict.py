"""`vmat-rt predict`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmat_rt.commands.common import (
    SCHEMA_VERSION,
    add_prescription_options,
    allow_option,
    deidentified_option,
    goals_option,
    guard,
    json_option,
    print_json,
    print_problems,
    protocol_option,
    say,
    series_option,
    structures_option,
)
from vmat_rt.commands.progress import show_steps
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.system.devices import require_device_name

if TYPE_CHECKING:
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.study.prediction import Prediction

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID = 64


def _parse_percentages(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[float, ...]:
    if not value:
        return ()
    try:
        levels = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of percentages such as 95,50") from error
    if not all(0 < level <= 150 for level in levels):
        raise click.BadParameter("isodose levels lie between 0 and 150 percent of the highest prescription")
    return levels


def _check_uid(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (len(value) <= _LONGEST_UID and _UID.fullmatch(value)):
        raise click.BadParameter(f"{value!r} is not a DICOM UID: numbers without leading zeros joined by dots")
    return value


def _check_device(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        require_device_name(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    return value


_NOTHING = ""
"""The value of --nifti without a mapping file."""
_OF_ONE_STUDY = ("structures_uid", "series_uid", "plan", "plan_uid")
_SPELT = {
    "structures_uid": "structures",
    "series_uid": "series",
    "plan_uid": "plan-uid",
    "deidentified": "accept-deidentified",
}
"""Options whose parameter is called otherwise."""
_DICOM_ONLY = ("structures_uid", "series_uid", "plan", "plan_uid", "isodose", "identify", "deidentified")

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:n]",
    callback=_check_device,
    help="Where a network runs.",
)


@click.command(
    epilog="Example: vmat-rt predict demo/study --out out\n\n"
    "Writes OUT/<case>/{rtdose.dcm, rtplan.dcm, report.html, report.json, dvh.csv}; with --nifti dose.nii.gz "
    "instead of DICOM, e.g. vmat-rt predict patient_7 --nifti mapping.yaml --out out. The study is the one that "
    "vmat-rt demo leaves there."
)
@click.argument(
    "study_dirs",
    metavar="STUDY_DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@protocol_option
@goals_option
@click.option("--model", metavar="NAME|DIR", help="A bundle by name or folder. Default: the protocol's own.")
@structures_option
@series_option
@deidentified_option
@add_prescription_options
@allow_option
@click.option(
    "--plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Attach to this RTPLAN file."
)
@click.option(
    "--plan-uid", metavar="UID", callback=_check_uid, help="Attach the dose to the RTPLAN with this SOP Instance UID."
)
@click.option("--bits", type=click.Choice(["16", "32"]), default="16", show_default=True, help="Bits of a dose voxel.")
@click.option("--isodose", metavar="95,50", callback=_parse_percentages, help="Also write an RTSTRUCT of these (%).")
@click.option(
    "--allow-outside",
    is_flag=True,
    help="For research: predict what lies far outside of what the model learned, with warnings.",
)
@click.option("--pdf", is_flag=True, help="Also write summary.pdf, two pages to print (extra pdf).")
@click.option("--identify", is_flag=True, help="Put the patient's name and ID into the report.")
@click.option(
    "--nifti",
    "mapping_file",
    is_flag=False,
    flag_value=_NOTHING,
    metavar="[MAP.yaml]",
    help="STUDY_DIR holds NIfTI or NRRD. The mapping file says which is what; without it the files' TG-263 names do.",
)
@device_option
@json_option
@guard
@show_steps
def command(study_dirs: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Predict the dose of one study, or of several: RTDOSE, companion RTPLAN and report.

    STUDY_DIR holds one patient's CT and RTSTRUCT (flat or nested; RTPLAN and RTDOSE are used when they are there),
    or, with --nifti, image files. Of several a refused one does not stop the others.
    """
    predict = _predict_images(out, options) if options["mapping_file"] is not None else _predict_studies(out, options)
    if len(study_dirs) == 1:
        made = predict(study_dirs[0])
        if as_json:
            print_json(made.document().model_dump(mode="json"))
        else:
            say(made.summary())
        return
    _refuse_options_of_one(options)
    _predict_each(study_dirs, predict, as_json)


def _choose(options: dict[str, Any]) -> StudyChoice:
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.system.extras import require

    if options["pdf"]:
        require("pdf", what="predict --pdf")
    name = options["protocol_name"]
    return StudyChoice(
        structures_uid=options["structures_uid"],
        series_uid=options["series_uid"],
        protocol=load_protocol(name) if name else None,
        prescription_gy=options["prescription"],
        fractions=options["fractions"],
        allowed=options["allowed"],
        deidentified=options["deidentified"],
        goal_sets=options["goal_sets"],
    )


def _predict_studies(out: Path, options: dict[str, Any]) -> Callable[[Path], Prediction]:
    """The main line with these options; it takes a folder of DICOM. Raises UsageError for two plans."""
    from vmat_rt.study.outputs import Outputs
    from vmat_rt.study.predict import predict_study

    if options["plan"] and options["plan_uid"]:
        raise click.UsageError("give --plan or --plan-uid, not both")
    outputs = Outputs(
        plan=options["plan"],
        plan_uid=options["plan_uid"],
        bits=32 if options["bits"] == "32" else 16,
        isodose_percent=options["isodose"],
        identify=options["identify"],
        pdf=options["pdf"],
    )
    choice, model, device = _choose(options), options["model"], options["device"]
    outside = options["allow_outside"]

    def predict(folder: Path) -> Prediction:
        named = replace(outputs, received=folder.resolve().name)
        return predict_study(folder, out, choice, named, model, device, allow_outside=outside)

    return predict


def _predict_images(out: Path, options: dict[str, Any]) -> Callable[[Path], Prediction]:
    """The same for a folder of image files. Raises UsageError for an option that means nothing there."""
    from vmat_rt.study.predict_images import predict_images

    _refuse_dicom_options(options)
    mapping = Path(options["mapping_file"]) if options["mapping_file"] != _NOTHING else None
    choice, model, device = _choose(options), options["model"], options["device"]
    outside = options["allow_outside"]
    pdf = options["pdf"]
    return lambda folder: predict_images(folder, out, mapping, choice, model, device, allow_outside=outside, pdf=pdf)


def _refuse_dicom_options(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that means nothing where no DICOM is read or written."""
    given = [name for name in _DICOM_ONLY if options[name]] + (["bits"] if options["bits"] != "16" else [])
    if given:
        raise click.UsageError(f"{_spell(given)} and --nifti do not go together: no DICOM is read or written")


def _refuse_options_of_one(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that names something of one study."""
    given = [name for name in _OF_ONE_STUDY if options[name]]
    if given:
        raise click.UsageError(f"{_spell(given)} belongs to one study: predict it alone")


def _spell(names: Sequence[str]) -> str:
    return ", ".join(f"--{_SPELT.get(name, name)}" for name in names)


def _predict_each(folders: Sequence[Path], predict: Callable[[Path], Prediction], as_json: bool) -> None:
    """Each study in turn; ends with code 3 where one was refused."""
    documents: list[dict[str, Any]] = []
    for folder in folders:
        try:
            made = predict(folder)
        except InputError as error:
            if error.is_of_the_machine:
                raise
            problems = [problem.as_dict() for problem in error.problems]
            print_problems(problems, error.exit_code, str(folder))
            documents.append({"folder": str(folder), "problems": problems})
            continue
        documents.append({"folder": str(folder), **made.document().model_dump(mode="json")})
        if not as_json:
            say(made.summary())
    refused = sum("paths" not in document for document in documents)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "studies": documents})
    else:
        say(f"{len(documents) - refused} predicted, {refused} refused")
    if refused:
        sys.exit(InputError.exit_code)
