"""How a run ends, in an order that a kill at any instant survives: outbox, audit log, journal, then the copy goes.

Each step can be repeated: a result that lies in the outbox is recognised by its content hash, an audit line by its job.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence

from vmat_rt.errors import Problem
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Job, JobOutcome, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.logs import event
from vmat_rt_service.outbox.publishing import WORK_FOLDER, Record, find_published
from vmat_rt_service.outbox.refusal import publish_refusal, withdraw

_MOST_INTERRUPTIONS = 30
"""A job that the service as a whole never survives is given up at some time too."""

CRASHED = Problem(
    "WORKER_DIED",
    "The program ended without a word, several times, while it worked on this study.",
    "Please report it, and run the study again.",
)


def complete(config: ServiceConfig, journal: Journal, job: Job, record: Record, fresh: bool = False) -> Job:
    """A job whose result lies in the outbox is done. fresh: it was published just now, so no audit line tells of it."""
    if fresh or not _is_audited(config, job):
        audit.append(
            config, journal, "done", job=job.id, key=record.key, content_hash=record.content_hash,
            essence=journal.find_essence(job.id), inputs=journal.list_inputs(job.id), model=record.model,
            versions=record.versions, results=record.files,
            configuration=config.sha256(), protocol=config.protocol is not None,
        )  # fmt: skip
    outcome = JobOutcome(
        State.DONE, model=f"{record.model['name']} {record.model['version']}", seconds=record.seconds, key=record.key
    )
    done = journal.finish(job.id, outcome, [destination.name for destination in config.destinations])
    withdraw(config.outbox, job.key)
    _clean_up(config, job)
    event("done", job=job.id, key=record.key, seconds=round(record.seconds, 2), attempt=job.attempts)
    return done


def give_up(
    config: ServiceConfig,
    journal: Journal,
    job: Job,
    state: State,
    problems: Sequence[Problem],
    identity: Iterable[str] = (),
) -> Job:
    """Refuse or fail a job and publish why. The journal keeps the codes only: messages may name ROIs."""
    errors = [problem for problem in problems if problem.severity == "error"] or list(problems)
    retry = config.write_command("jobs", "retry", job.id)
    publish_refusal(config.outbox, job.key, state, errors, identity, retry)
    codes = ", ".join(dict.fromkeys(problem.code for problem in errors))
    audit.append(config, journal, str(state), job=job.id, key=job.key, content_hash=job.content_hash,
                 essence=journal.find_essence(job.id), inputs=journal.list_inputs(job.id), codes=codes)  # fmt: skip
    ended = journal.finish(job.id, JobOutcome(state, codes, f"see refused/{job.key}/reason.html"))
    _clean_up(config, job)
    event(str(state), job=job.id, key=job.key, code=codes, attempt=job.attempts)
    return ended


def recover(config: ServiceConfig, journal: Journal, job: Job, counted: bool, killed: bool = False) -> Job:
    """A running job whose worker is dead: done where its result was published, else ready again or given up.

    counted: the worker died alone, which the job may be to blame for; not where the service died as a whole.
    killed: by a SIGKILL that was not ours. Where other jobs ended since this one's last attempt, somebody kills workers
    whatever they do, and the attempts are counted from zero again; a job whose workers are killed in a row is to blame.
    """
    record = find_published(config.outbox, job, journal.is_ours)
    if record is not None:
        return complete(config, journal, job, record)
    innocent = killed and journal.have_others_finished(job.id)
    if innocent:
        journal.count_anew(job.id)
    if (counted and not innocent and job.attempts >= config.max_attempts) or job.interruptions >= _MOST_INTERRUPTIONS:
        return give_up(config, journal, job, State.FAILED, [CRASHED])
    event("returned", job=job.id, key=job.key, attempt=job.attempts)
    return journal.give_back(job.id, "worker died" if counted else "service died", counted)


def _is_audited(config: ServiceConfig, job: Job) -> bool:
    return any(
        entry.get("event") == "done" and entry.get("job") == job.id and entry.get("content_hash") == job.content_hash
        for entry in audit.read_entries(config.audit)
    )


def _clean_up(config: ServiceConfig, job: Job) -> None:
    shutil.rmtree(config.outbox / WORK_FOLDER / str(job.id), ignore_errors=True)
    if job.content_hash:
        shutil.rmtree(config.staging / job.content_hash, ignore_errors=True)
