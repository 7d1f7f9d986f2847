"""`vmat-rt cohort`: make cohorts, look at them, divide them, and take cases out again."""

from __future__ import annotations

import click

from vmat_rt.commands.cohort.adding import add, openkbp
from vmat_rt.commands.cohort.simulated import restore, simulate
from vmat_rt.commands.cohort.using import export, info, split


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: vmat-rt cohort add /exports --cohort clinic && vmat-rt cohort split clinic --seeds 42",
)
def command() -> None:
    """Cohorts of cases for training and evaluation: make, look at, divide, export."""


for _subcommand in (add, openkbp, simulate, restore, export, info, split):
    command.add_command(_subcommand)
