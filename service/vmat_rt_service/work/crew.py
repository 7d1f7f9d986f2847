"""The workers: started when there is work, watched over, ended when idle. The job of one that died is settled."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

from vmat_rt.errors import Problem
from vmat_rt_service.children import Child
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import has_enough_space
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.logs import event
from vmat_rt_service.outbox.publishing import find_published
from vmat_rt_service.work import closing
from vmat_rt_service.work.worker import describe_memory_problem

_STARTING_SECONDS = 60.0
_BACK_OFF_SECONDS = 5.0


@dataclass
class _Member:
    name: str
    child: Child
    busy: bool
    since: float  # of its last message, or of what it was last told
    job: int | None = None
    ended_for: Problem | None = None


@dataclass(frozen=True)
class _Dead:
    """A worker that ended: for a limit that we ended it for, by a SIGKILL, or on its own."""

    name: str
    ended_for: Problem | None
    was_killed: bool


class Crew:
    """At most config.workers worker processes."""

    def __init__(self, config: ServiceConfig, journal: Journal, descriptors: tuple[int, ...] = ()) -> None:
        self._config, self._journal, self._descriptors = config, journal, descriptors
        self._members: list[_Member] = []
        self._unsettled: list[_Dead] = []
        self._numbers = itertools.count(1)
        self._not_before = 0.0
        self.blocked = False

    @property
    def busy(self) -> bool:
        """Whether any worker works on a job, or a dead worker's job is unsettled."""
        return bool(self._unsettled) or any(member.busy for member in self._members)

    @property
    def descriptors(self) -> list[int]:
        return [member.child.descriptor for member in self._members]

    def step(self, now: float, hire: bool) -> bool:
        """Hear what the workers say, end what is over its limits, set idle ones to work. True when a job ended."""
        ended = [self._hear_member(member, now) for member in self._members]
        for member in self._members:
            self._watch(member, now)
        dead = [member for member in self._members if not member.child.is_alive()]
        for member in dead:
            # What it said last may have come between hearing and dying.
            self._hear_member(member, now)
            member.child.close()
            self._members.remove(member)
            self._unsettled.append(_Dead(member.name, member.ended_for, member.child.was_killed))
        self._settle()
        if hire and now >= self._not_before:
            self._set_to_work(now)
        return any(ended) or bool(dead)

    def finish(self) -> None:
        """Let every worker end after its current job."""
        for member in self._members:
            member.child.finish()

    def kill(self) -> None:
        """End every worker at once; their jobs stay running in the journal until the next start."""
        for member in self._members:
            member.child.kill()
            member.child.close()
        self._members.clear()

    def _hear_member(self, member: _Member, now: float) -> bool:
        ended = False
        for message in member.child.read_messages():
            member.since = now
            member.job = message.get("started")
            ended = ended or "ended" in message
            if "idle" in message:
                member.busy = False
                self.blocked = bool(message["blocked"])
                if self.blocked:
                    self._not_before = now + _BACK_OFF_SECONDS
        return ended

    def _watch(self, member: _Member, now: float) -> None:
        quiet = now - member.since
        if not member.busy:
            if quiet > self._config.worker_idle_seconds:
                member.child.finish()
            return
        memory = member.child.measure_memory_bytes()
        limit = self._config.job_timeout_seconds
        if memory > self._config.job_memory_gb * 1e9:
            member.ended_for = describe_memory_problem(self._config)
        elif quiet > (limit if member.job is not None else limit + _STARTING_SECONDS):
            member.ended_for = _describe_timeout(limit)
        if member.ended_for is not None:
            event(
                "limit passed", worker=member.name, job=member.job, code=member.ended_for.code, megabytes=memory >> 20
            )
            member.child.kill()

    def _settle(self) -> None:
        while self._unsettled:
            dead = self._unsettled[0]
            for job in self._journal.list_running(dead.name):
                settle(self._config, self._journal, job, dead)
            self._unsettled.pop(0)

    def _set_to_work(self, now: float) -> None:
        ready = self._journal.count_jobs()[State.READY]
        idle = [member for member in self._members if not member.busy and member.child.is_alive()]
        if not ready or not has_enough_space(self._config):
            return
        busy = sum(member.busy for member in self._members)
        for _ in range(min(ready, self._config.workers - busy)):
            member = idle.pop() if idle else self._hire_member(now)
            member.busy, member.since, member.job = True, now, None
            member.child.send({"do": "work"})

    def _hire_member(self, now: float) -> _Member:
        name = f"{os.getpid()}-{next(self._numbers)}"
        child = Child("vmat_rt_service.work.worker", [name], self._descriptors)
        child.send(self._config.model_dump(mode="json"))
        member = _Member(name, child, False, now)
        self._members.append(member)
        return member


def settle(config: ServiceConfig, journal: Journal, job: Job, dead: _Dead) -> Job:
    """The job of a worker that died: failed at once where it passed a limit, else recovered."""
    if dead.ended_for is None or find_published(config.outbox, job) is not None:
        return closing.recover(config, journal, job, counted=True, killed=dead.was_killed)
    return closing.give_up(config, journal, job, State.FAILED, [dead.ended_for])


def _describe_timeout(limit: float) -> Problem:
    return Problem(
        "TIMEOUT",
        f"The study was not done after {limit:g} seconds.",
        "Look at its images and contours; raise job_timeout_seconds where they are right.",
    )
