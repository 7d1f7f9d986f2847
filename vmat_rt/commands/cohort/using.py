"""`vmat-rt cohort export`, `info` and `split`: what is done with a cohort."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.cohort.options import add_workers_option, existing_option
from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, needs, print_json, say

_PICTURES = ("contact_sheet_", "dvh_fan")


@click.command(
    short_help="Write one case as a DICOM study.",
    epilog="Example: vmat-rt cohort export sim-1-0007 --cohort prostate --dicom out/sim-1-0007",
)
@click.argument("case_key", metavar="CASE")
@existing_option
@click.option(
    "--dicom",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the study; a new one.",
)
@json_option
@guard
@needs("cohort")
def export(case_key: str, uri: str, folder: Path, as_json: bool) -> None:
    """Write one case as DICOM: CT, RTSTRUCT, RTPLAN and RTDOSE under a made-up identity."""
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.curation.export import export_stored

    export_stored(Cohort.open(uri), case_key, folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.dcm"))
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "case": case_key, "counts": {"files": len(files)}}
        print_json({**document, "files": files, "problems": [], "exit_code": 0})
    else:
        say(f"{case_key}: {len(files)} DICOM files in {folder}")


@click.command(
    short_help="Counts, volumes, doses, outliers and pictures.",
    epilog="Example: vmat-rt cohort info prostate --out prostate_info",
)
@click.argument("uri", metavar="COHORT")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for contact_sheet_N.png and dvh_fan.png; a new one, or of an earlier info.",
)
@add_workers_option
@json_option
@guard
@needs("cohort")
def info(uri: str, out: Path | None, workers: int, as_json: bool) -> None:
    """Say what is in a cohort: counts, volumes, dose-volume statistics, goals met, outliers; with --out pictures."""
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.curation.info.describe import describe_cohort
    from vmat_rt.curation.info.text import as_text

    if out is not None and not _is_of_info(out):
        raise click.UsageError(f"{out} holds other files, which would be lost; give a new folder with --out")
    description = describe_cohort(Cohort.open(uri), out, workers, progress=not as_json)
    if as_json:
        print_json({**description.document(), "exit_code": 0})
        return
    say(as_text(description))


def _is_of_info(folder: Path) -> bool:
    """Whether the folder may be replaced: absent, empty, or the pictures of an earlier run."""
    return not folder.exists() or all(path.name.startswith(_PICTURES) for path in folder.iterdir())


def _parse_seeds(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 42,123,456") from error


def _parse_fractions(_context: click.Context, _option: click.Parameter, value: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not three fractions such as .8,.1,.1") from error
    return train, validation, test


@click.command(
    short_help="Divide the cases into train, validation and test.",
    epilog="Example: vmat-rt cohort split prostate --seeds 42,123,456 --fractions .8,.1,.1 --locked",
)
@click.argument("uri", metavar="COHORT")
@click.option(
    "--seeds", default="42", show_default=True, metavar="N,N,...", callback=_parse_seeds, help="One split each."
)
@click.option(
    "--fractions",
    default=".8,.1,.1",
    show_default=True,
    metavar="F,F,F",
    callback=_parse_fractions,
    help="Of train, validation and test.",
)
@click.option("--locked", is_flag=True, help="One test set for all seeds.")
@click.option("--outliers-too", is_flag=True, help="Divide outliers (prosthesis, spacer) too; else they stand apart.")
@json_option
@guard
@needs("cohort")
def split(
    uri: str,
    seeds: tuple[int, ...],
    fractions: tuple[float, float, float],
    locked: bool,
    outliers_too: bool,
    as_json: bool,
) -> None:
    """Divide the cases by patient into train, validation and test; writes splits.yaml with a hash.

    Stratified by plan type (SIB or single level), nodes and target volume. A patient never stands in two parts, nor do
    two patients who share an image.
    """
    from vmat_rt.cohort.duplicates import join_patients
    from vmat_rt.cohort.split import PARTS, split_cohort
    from vmat_rt.cohort.store import Cohort

    cohort = Cohort.open(uri)
    records = join_patients(cohort.records())
    splits = split_cohort(records, seeds, fractions, locked, outliers_apart=not outliers_too)
    splits.write(cohort)
    parts = {str(seed): {part: len(splits.cases(part, seed)) for part in PARTS} for seed in seeds}
    counts = {"cases": len(records), "patients": len({r.patient for r in records}), "outliers": len(splits.outliers)}
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "cohort": cohort.settings.name, "counts": counts}
        print_json({**document, "seeds": parts, "sha256": splits.sha256, "problems": [], "exit_code": 0})
        return
    say(f"{counts['cases']} cases of {counts['patients']} patients, {counts['outliers']} outliers apart")
    for seed, sizes in parts.items():
        say(f"  seed {seed}: " + ", ".join(f"{number} {part}" for part, number in sizes.items()))
    say(f"  SHA-256 {splits.sha256}")
