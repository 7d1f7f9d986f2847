"""`vmat-rt replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say
from vmat_rt.commands.jobs import state_option

_DIFFERS = 4


@click.command(epilog="Example: vmat-rt replay 12 --state OUTBOX/.vmat-rt")
@click.argument("job", type=int)
@state_option
@json_option
@guard
def command(job: int, state: Path | None, as_json: bool) -> None:
    """Compute a done job again from the same inputs, compare the RTDOSE bit for bit. Exit code 4 where it differs."""
    from vmat_rt_service.config import read_saved_config
    from vmat_rt_service.work.replay import replay

    outcome = replay(read_saved_config(state or Path.cwd()), job)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, **outcome.as_dict()})
    else:
        say(outcome.sentence())
    if not outcome.same:
        sys.exit(_DIFFERS)
