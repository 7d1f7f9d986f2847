"""Options that the commands of `vmat-rt cohort` share, and the exit code of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vmat_rt.system.cores import usable_cores

NOTHING_USABLE = 3
"""Exit code of a batch of which nothing is in the cohort."""

cohort_option = click.option(
    "--cohort", "uri", required=True, metavar="DIR|URL", help="The cohort; made when there is none."
)
existing_option = click.option("--cohort", "uri", required=True, metavar="DIR|URL", help="The cohort.")
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def add_workers_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--workers",
        type=click.IntRange(1, 256),
        default=usable_cores,
        show_default="one a core",
        help="Processes at a time, of one thread and 1 to 2 GB each.",
    )(function)


def add_new_cohort_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--name", default="", help="Of a new cohort. Default: its folder's.")(function)
    return click.option(
        "--grid",
        "grid_text",
        metavar="ZxYxX@ZxYxX",
        help="Of a new cohort: voxels and mm, e.g. 96x160x192@2.5x2.5x2.5. Default: by site.",
    )(function)
