"""`vmat-rt audit`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say
from vmat_rt.commands.jobs import open_journal, state_option

_BROKEN = 4


@click.group(epilog="Example: vmat-rt audit verify --state OUTBOX/.vmat-rt")
def command() -> None:
    """The service's log of what it did: every line holds the hash of the line before."""


@command.command(epilog="Example: vmat-rt audit verify --state OUTBOX/.vmat-rt")
@state_option
@json_option
@guard
def verify(state: Path | None, as_json: bool) -> None:
    """Check that no line was changed, removed or added by another hand. Exit code 4 where one was."""
    from vmat_rt_service.journal import audit

    journal = open_journal(state)
    verdict = audit.verify(journal.path.with_name("audit.jsonl"), audit.read_head(journal))
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "lines": verdict.lines, "fault": verdict.fault})
    else:
        say(f"{verdict.lines} lines hold" + (f"; {verdict.fault}." if verdict.fault else "."))
    if verdict.fault:
        sys.exit(_BROKEN)
