"""`vmat-rt jobs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmat_rt_service.journal.jobs import Job, Journal
    from vmat_rt_service.journal.sends import Ledger, Send

state_option = click.option(
    "--state",
    envvar="VMAT_RT_STATE",
    type=click.Path(path_type=Path),
    help="State folder of the service, or the outbox that it lies in. Default: $VMAT_RT_STATE or here.",
)


def open_journal(state: Path | None) -> Journal:
    """The journal of the service that a state folder (or an outbox) belongs to."""
    import sqlite3

    from vmat_rt.errors import ConfigError
    from vmat_rt_service.config import read_saved_config
    from vmat_rt_service.journal.jobs import Journal

    config = read_saved_config(state or Path.cwd())
    try:
        return Journal(config.journal)
    except sqlite3.DatabaseError as error:
        remedy = f"stop the service and run `vmat-rt jobs rebuild --state {config.state}`"
        raise ConfigError(f"the journal cannot be used ({error}); where it is damaged, {remedy}") from error


def open_ledger(journal: Journal) -> Ledger:
    """What is sent where, of the same file."""
    from vmat_rt_service.journal.sends import Ledger

    return Ledger(journal.path)


@click.group(invoke_without_command=True, epilog="Example: vmat-rt jobs --state OUTBOX/.vmat-rt")
@state_option
@json_option
@click.pass_context
@guard
def command(context: click.Context, state: Path | None, as_json: bool) -> None:
    """List the jobs of a service: what arrives, waits, runs, is done or refused, and why."""
    from vmat_rt_service.journal.pause import read_pause

    context.obj = state
    if context.invoked_subcommand is not None:
        return
    journal = open_journal(state)
    pause = read_pause(journal)
    sends = open_ledger(journal).group_by_job()
    jobs = journal.list_jobs()
    if as_json:
        documents = [{**asdict(job), "sends": [asdict(send) for send in sends.get(job.id, ())]} for job in jobs]
        print_json({"schema_version": SCHEMA_VERSION, "jobs": documents, "pause": pause})
        return
    if pause is not None:
        say(f"Paused since {pause['since'][:19]}: {pause['message']} {pause['remedy']}")
    say("\n".join(_format_line(job, sends.get(job.id, ())) for job in jobs) or "There is no job.")


@command.command(epilog="Example: vmat-rt jobs retry 12 --state OUTBOX/.vmat-rt")
@click.argument("job", type=int)
@state_option
@json_option
@click.pass_context
@guard
def retry(context: click.Context, job: int, state: Path | None, as_json: bool) -> None:
    """Run a refused or failed job again, from its files in the inbox."""
    from vmat_rt.errors import ConfigError
    from vmat_rt_service.journal.states import IllegalTransitionError

    journal = open_journal(state or context.obj)
    record = journal.find_job(job)
    if record is None:
        raise ConfigError(f"there is no job {job}")
    try:
        record = journal.retry(job)
    except IllegalTransitionError as error:
        raise ConfigError(f"job {job} is {record.state}: only refused and failed jobs can be run again") from error
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "jobs": [asdict(record)]})
    else:
        say(f"Job {job} runs again as soon as its files are found in the inbox.")


@command.command(epilog="Example: vmat-rt jobs resend 12 --state OUTBOX/.vmat-rt")
@click.argument("job", type=int)
@state_option
@click.pass_context
@guard
def resend(context: click.Context, job: int, state: Path | None) -> None:
    """Send a result again to the destinations that refused it."""
    from vmat_rt.errors import ConfigError

    if not open_ledger(open_journal(state or context.obj)).resend(job):
        raise ConfigError(f"no destination has given up on job {job}")
    say(f"Job {job} is sent again by the running service.")


@command.command(epilog="Example: vmat-rt jobs rebuild --state OUTBOX/.vmat-rt")
@state_option
@json_option
@click.pass_context
@guard
def rebuild(context: click.Context, state: Path | None, as_json: bool) -> None:
    """Make a lost or damaged journal again from the audit log and the outbox. The service must be stopped.

    The damaged one is kept beside it. A service that starts does the same by itself.
    """
    from vmat_rt_service.config import read_saved_config
    from vmat_rt_service.journal.rebuilding import rebuild as rebuild_journal
    from vmat_rt_service.lock import Lock
    from vmat_rt_service.outbox.publishing import find_published

    config = read_saved_config(state or context.obj or Path.cwd())
    lock = Lock(config.state / "service.lock")
    lock.acquire()
    try:
        rebuilt = rebuild_journal(config)
    finally:
        lock.release()
    journal = open_journal(config.state)
    done = [job for job in journal.list_jobs() if str(job.state) == "done"]
    absent = [job.key for job in done if find_published(config.outbox, job, journal.is_ours) is None]
    if as_json:
        kept = str(rebuilt.aside) if rebuilt.aside else None
        print_json({"schema_version": SCHEMA_VERSION, "jobs": rebuilt.jobs, "kept": kept, "results_absent": absent})
        return
    say(f"The journal holds {rebuilt.jobs} jobs again" + (f"; the old: {rebuilt.aside}." if rebuilt.aside else "."))
    if absent:
        say(f"{len(absent)} results are not in the outbox as they were written: {', '.join(absent[:6])}.")


def _format_line(job: Job, sends: Sequence[Send]) -> str:
    took = f", {job.seconds:.1f} s" if job.seconds is not None else ""
    code = f"{job.reason_code}: " if job.reason_code and str(job.state) in {"refused", "failed"} else ""
    why = f"  {code}{job.reason}" if job.reason else ""
    tries = f", attempt {job.attempts}" if job.attempts > 1 else ""
    return f"{job.id:>5}  {job.key:<24} {job.state:<12} {job.updated[:19]}{took}{tries}{why}{_describe_sends(sends)}"


def _describe_sends(sends: Sequence[Send]) -> str:
    """How far the result has gone; why not further, where it has not."""
    lines = ""
    for send in sends:
        failed = f", {send.attempts} attempts failed" if send.attempts else ""
        why = f": {send.detail}" if send.detail else ""
        lines += f"\n       to {send.destination}: {send.status}{failed}{why}"
    return lines
