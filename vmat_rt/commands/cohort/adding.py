"""`vmat-rt cohort add` and `openkbp`: patients from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Never

import click

from vmat_rt.commands.cohort.options import (
    EXISTING_FOLDER,
    NOTHING_USABLE,
    add_new_cohort_options,
    add_workers_option,
    cohort_option,
)
from vmat_rt.commands.common import allow_option, deidentified_option, guard, json_option, needs, print_json, say


@click.command(
    short_help="Add DICOM studies or image files, thousands of them.",
    epilog="Example: vmat-rt cohort add /exports --cohort clinic --workers 8\n\n"
    "NIfTI or NRRD, a folder per patient: vmat-rt cohort add patients --nifti mapping.yaml --cohort clinic",
)
@click.argument("root", type=EXISTING_FOLDER)
@cohort_option
@click.option(
    "--protocol",
    "protocol_names",
    multiple=True,
    metavar="NAME|FILE",
    help="Protocols that cases may follow; repeat it. The first names a new cohort. Default: those that ship, by ROIs.",
)
@add_workers_option
@click.option(
    "--keys",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who is who; outside the cohort. Default: COHORT.keys.csv beside it.",
)
@add_new_cohort_options
@click.option(
    "--nifti",
    "mapping_file",
    is_flag=False,
    flag_value="",
    metavar="[MAP.yaml]",
    help="ROOT holds a folder of NIfTI or NRRD per patient. The mapping file says which is what; a folder's own "
    "mapping.yaml goes before it; without either the files' TG-263 names do.",
)
@click.option("--replace", is_flag=True, help="Add studies again whose files changed since they were added.")
@deidentified_option
@allow_option
@json_option
@guard
@needs("cohort")
def add(root: Path, uri: str, as_json: bool, **options: Any) -> None:
    """Add every study below ROOT: CT, RTSTRUCT and RTDOSE (and RTPLAN) nested anyhow, thousands of them.

    What cannot be used stands in COHORT/refused.csv with its reason. Run it again after a crash or a power cut: what
    was added is skipped, what was refused is tried again.
    """
    from vmat_rt.curation.intake.run import IntakeOptions
    from vmat_rt.curation.intake.settings import NewCohort, parse_grid
    from vmat_rt.protocol import load_protocol

    grid = parse_grid(options["grid_text"]) if options["grid_text"] else None
    chosen = IntakeOptions(
        protocols=tuple(load_protocol(name) for name in options["protocol_names"]),
        new=NewCohort(options["name"], grid),
        keys=options["keys"],
        workers=options["workers"],
        progress=not as_json,
        replace=options["replace"],
        allowed=options["allowed"],
        deidentified=options["deidentified"],
    )
    mapping_file = options["mapping_file"]
    if mapping_file is None:
        from vmat_rt.curation.intake.dicom import add_studies

        summary = add_studies(root, uri, chosen)
    else:
        from vmat_rt.curation.intake.images import add_images

        summary = add_images(root, uri, chosen, Path(mapping_file) if mapping_file else None)
    _print_intake(summary, as_json)


@click.command(
    short_help="Add OpenKBP patients in the published CSV layout.",
    epilog="Example: vmat-rt cohort openkbp open-kbp/provided-data --cohort openkbp",
)
@click.argument("csv_root", type=EXISTING_FOLDER)
@cohort_option
@add_workers_option
@add_new_cohort_options
@json_option
@guard
@needs("cohort")
def openkbp(csv_root: Path, uri: str, workers: int, name: str, grid_text: str | None, as_json: bool) -> None:
    """Add OpenKBP patients in the published CSV layout: folders pt_N below CSV_ROOT, nested anyhow."""
    from vmat_rt.curation.intake.openkbp import add_openkbp
    from vmat_rt.curation.intake.settings import NewCohort, parse_grid

    new = NewCohort(name, parse_grid(grid_text) if grid_text else None)
    _print_intake(add_openkbp(csv_root, uri, new, workers, progress=not as_json), as_json)


def _print_intake(summary: Any, as_json: bool) -> Never:
    exit_code = NOTHING_USABLE if summary.nothing_usable else 0
    if as_json:
        print_json({**summary.document(), "exit_code": exit_code})
    else:
        say(summary.text())
    sys.exit(exit_code)
