"""The workers: started when there is work, watched over, ended when idle. The job of one that died is settled."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmat_rt.errors import Problem
from vmat_rt_service.children import Child
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import Room, find_machine_fault, find_shortage, measure_room
from vmat_rt_service.journal.jobs import Job, JobOutcome, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.logs import crash, event
from vmat_rt_service.outbox.publishing import find_published
from vmat_rt_service.work import closing
from vmat_rt_service.work.worker import describe_memory_problem

_STARTING_SECONDS = 60.0
_BACK_OFF_SECONDS = 5.0
_LONGEST_BACK_OFF_SECONDS = 300.0


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

    def __init__(self, config: ServiceConfig, journal: Journal, descriptors: Sequence[int] = ()) -> None:
        self._config, self._journal, self._descriptors = config, journal, descriptors
        self._members: list[_Member] = []
        self._unsettled: list[_Dead] = []
        self._numbers = itertools.count(1)
        self._not_before = 0.0
        self._room_then: Room | None = None
        self._no_room_for = 0
        self._fault: Problem | None = None
        self.trouble: Problem | None = None

    @property
    def busy(self) -> bool:
        """Whether any worker works on a job, or a dead worker's job is unsettled."""
        return bool(self._unsettled) or any(member.busy for member in self._members)

    @property
    def descriptors(self) -> list[int]:
        return [member.child.descriptor for member in self._members]

    def step(self, now: float, hire: bool) -> bool:
        """Hear what the workers say, end what is over its limits, set idle ones to work. True when a job ended."""
        ended = self.listen(now)
        self._settle()
        if hire and self._may_hire(now):
            self._set_to_work(now)
        return ended

    def listen(self, now: float) -> bool:
        """Hear the workers and end what is over its limits, without deciding on any job. True when a job ended."""
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
            if "fault" in message:
                self._fault = Problem(**message["fault"])
            if "idle" in message:
                member.busy = False
                self._note_idle(message, now)
        return ended

    def _note_idle(self, message: dict[str, Any], now: float) -> None:
        """A worker that could not publish stops the others too: until there is more room, or for longer each time."""
        if not message["blocked"]:
            self._no_room_for = 0
            self._room_then = self.trouble = None
            return
        self.trouble = self._fault
        self._room_then = _measure(self._config)
        self._not_before = now + min(_BACK_OFF_SECONDS * 2**self._no_room_for, _LONGEST_BACK_OFF_SECONDS)
        self._no_room_for += 1

    def _may_hire(self, now: float) -> bool:
        if self.trouble is None or now >= self._not_before:
            return True
        room = _measure(self._config)
        return self._room_then is not None and room is not None and room.has_grown_since(self._room_then)

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
                try:
                    settle(self._config, self._journal, job, dead)
                except Exception as error:  # the boundary between one job and all others
                    if find_machine_fault(error) is not None:
                        raise
                    crash("job given up", error, job=job.id)
                    self._journal.finish(job.id, JobOutcome(State.FAILED, "INTERNAL_FAULT", "see the service's log"))
            self._unsettled.pop(0)

    def _set_to_work(self, now: float) -> None:
        ready = self._journal.count_jobs()[State.READY]
        idle = [member for member in self._members if not member.busy and member.child.is_alive()]
        if not ready:
            return
        shortage = find_shortage(self._config)
        if shortage is not None:
            self.trouble = shortage
            return
        if self._no_room_for == 0:
            self.trouble = None
        busy = sum(member.busy for member in self._members)
        for _ in range(min(ready, self._config.workers - busy)):
            member = idle.pop() if idle else self._hire_member(now)
            member.busy, member.since, member.job = True, now, None
            member.child.send({"do": "work"})

    def _hire_member(self, now: float) -> _Member:
        name = f"{os.getpid()}-{next(self._numbers)}"
        child = Child("vmat_rt_service.work.worker", [name], tuple(self._descriptors))
        child.send(self._config.model_dump(mode="json"))
        member = _Member(name, child, False, now)
        self._members.append(member)
        return member


def settle(config: ServiceConfig, journal: Journal, job: Job, dead: _Dead) -> Job:
    """The job of a worker that died: failed at once where it passed a limit, else recovered."""
    if dead.ended_for is None or find_published(config.outbox, job, journal.is_ours) is not None:
        return closing.recover(config, journal, job, counted=True, killed=dead.was_killed)
    return closing.give_up(config, journal, job, State.FAILED, [dead.ended_for])


def _measure(config: ServiceConfig) -> Room | None:
    try:
        return measure_room(config.outbox)
    except OSError:
        return None


def _describe_timeout(limit: float) -> Problem:
    return Problem(
        "TIMEOUT",
        f"The study was not done after {limit:g} seconds.",
        "Look at its images and contours; raise job_timeout_seconds where they are right.",
    )
