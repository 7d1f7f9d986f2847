"""The service's one loop. It opens no file of the inbox and computes nothing, so that nothing can bring it down.

What a study leads to is that study's end (`intake`, `work`). What disks, shares and the journal lead to is a pause: its
reason stands in the log once, in the journal and in /healthz, and the loop looks again until it is over.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from vmat_rt.errors import Problem
from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import find_machine_fault
from vmat_rt_service.folders import Locks
from vmat_rt_service.intake.admission import Intake
from vmat_rt_service.intake.inbox import on_network
from vmat_rt_service.intake.reader_process import Reader
from vmat_rt_service.intake.staging import sweep
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.pause import Pause
from vmat_rt_service.journal.rebuilding import open_journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox import refusal
from vmat_rt_service.outbox.publishing import WORK_FOLDER
from vmat_rt_service.places import Places
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.work import closing
from vmat_rt_service.work.crew import Crew

_BUSY_STEP_SECONDS = 0.5
_TROUBLE_SECONDS = 2.0


class Companion(Protocol):
    """Something that runs beside the loop: web page, DICOM node, senders. It must not block and not raise."""

    @property
    def busy(self) -> bool:
        """Whether --once has to wait for it."""

    def start(self) -> None: ...

    def step(self, now: float) -> None: ...

    def stop(self) -> None: ...


class Supervisor:
    """One service: `run` until stopped, or until what is complete is processed (once)."""

    def __init__(
        self,
        config: ServiceConfig,
        once: bool = False,
        companions: Sequence[Companion] = (),
        pulse: Pulse | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._once, self._companions, self._clock = once, companions, clock
        self._pulse = pulse or Pulse()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._woken = False
        self._begun = False
        self._places = Places(config)
        self._pause = Pause()

    def stop(self, *_signal: Any) -> None:
        """Finish the current job, then return from `run`. Safe in a signal handler."""
        self._stopping = True
        self._signal()

    def wake(self) -> None:
        """Scan now. Safe from another thread."""
        self._woken = True
        self._signal()

    def run(self) -> bool:
        """Serve. False where --once had to leave work undone because a disk is full or a folder is not the one it was.

        Raises ConfigError when another service holds the state folder or the outbox.
        """
        with Locks(self.config) as self._locks:
            journal = self._open_journal()
            if journal is None:
                return False
            reader = Reader(journal.meta("key"), self._locks.descriptors)
            crew = Crew(self.config, journal, self._locks.descriptors)
            try:
                for companion in self._companions:
                    companion.start()
                return self._run_loop(journal, Intake(self.config, journal, reader, self._once), reader, crew)
            finally:
                for companion in self._companions:
                    companion.stop()
                reader.stop()
                crew.kill()
                journal.close()

    def _open_journal(self) -> Journal | None:
        """The journal, as soon as its disk takes it; None where it is not waited for."""
        while not self._stopping:
            try:
                return open_journal(self.config)
            except (sqlite3.Error, OSError) as error:
                if self._pulse.pause is None:
                    logs.crash("paused", error)
                self._pulse.pause = find_machine_fault(error)
                self._pulse.beat(0, _TROUBLE_SECONDS)
            if self._once:
                return None
            time.sleep(_TROUBLE_SECONDS)
        return None

    def _begin(self, journal: Journal) -> None:
        """Undo what a killed service left half done."""
        self.config.save()
        audit.note_start(self.config, journal)
        for job in journal.list_jobs(State.RUNNING):
            closing.recover(self.config, journal, job, counted=False)
        kept = [job.content_hash for job in journal.list_jobs(State.READY) if job.content_hash]
        sweep(self.config.staging, kept)
        sweep(self.config.outbox / WORK_FOLDER)
        refusal.sweep(self.config.outbox)
        self._begun = True
        logs.event("service started", count=len(kept))

    def _run_loop(self, journal: Journal, intake: Intake, reader: Reader, crew: Crew) -> bool:
        with _watch_files(self.config, self.wake):
            while True:
                now = self._clock()
                if self._woken:
                    self._woken = False
                    intake.wake()
                pause = self._step(journal, intake, crew, now)
                if self._stopping and not crew.busy:
                    logs.event("service stopped")
                    return True
                if self._once and not crew.busy and (ended := self._has_ended(journal, intake)) is not None:
                    return ended
                self._wait(pause, reader, crew)

    def _has_ended(self, journal: Journal, intake: Intake) -> bool | None:
        """Whether --once is through, or has to leave work undone; None where it goes on."""
        if self._pause.reason is not None:
            logs.event("stopped with work left", code=self._pause.reason.code)
            return False
        if intake.settled and not journal.count_jobs()[State.READY] and not self._has_busy_companions():
            _tell_counts(journal)
            return True
        return None

    def _has_busy_companions(self) -> bool:
        return any(companion.busy for companion in self._companions)

    def _step(self, journal: Journal, intake: Intake, crew: Crew, now: float) -> float:
        """One round; the seconds until the next is due. What stops the work is met again in the next one."""
        reason = self._work(journal, intake, crew, now)
        self._pulse.pause = reason
        self._pause.note(journal, reason)
        self._pulse.beat(intake.scans, intake.due(now))
        self._step_companions(now)  # also after trouble: whether --once may end is theirs to say
        if reason is not None:
            return _TROUBLE_SECONDS
        busy = crew.busy or self._has_busy_companions()
        return min(intake.due(now), _BUSY_STEP_SECONDS if busy else self.config.scan_seconds)

    def _step_companions(self, now: float) -> None:
        for companion in self._companions:
            try:
                companion.step(now)
            except Exception as error:  # the boundary between what serves others and the work itself
                logs.crash("companion failed", error)

    def _work(self, journal: Journal, intake: Intake, crew: Crew, now: float) -> Problem | None:
        """The part of a round that folders, disks and the journal can stop; why they did."""
        try:
            changed = self._places.find_changed() if self._begun else self._places.remember()
            if changed is not None:
                crew.listen(now)
                return changed
            if not self._begun:
                self._locks.take_outbox()
                self._begin(journal)
            self._work_on(journal, intake, crew, now)
        except Exception as error:  # the boundary: whatever it is, the service goes on and says so
            logs.crash("trouble", error)
            return find_machine_fault(error) or _describe_trouble(error)
        return crew.trouble or intake.trouble

    def _work_on(self, journal: Journal, intake: Intake, crew: Crew, now: float) -> None:
        if crew.step(now, hire=not self._stopping):
            intake.reconsider()
        if self._stopping:
            crew.finish()
            return
        if journal.retry_wanted():
            intake.reconsider()
        intake.step(now)

    def _wait(self, seconds: float, reader: Reader, crew: Crew) -> None:
        with selectors.DefaultSelector() as selector:
            watched = {self._wake_read, *crew.descriptors, *reader.descriptors}
            for descriptor in watched:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(max(seconds, 0.01))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 1024):
                pass

    def _signal(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")


def _tell_counts(journal: Journal) -> None:
    counts = journal.count_jobs()
    logs.event(
        "finished",
        done=counts[State.DONE],
        refused=counts[State.REFUSED],
        failed=counts[State.FAILED],
        waiting=counts[State.RECEIVING] + counts[State.QUARANTINED],
    )


def serve(
    config: ServiceConfig, once: bool = False, companions: Sequence[Companion] = (), pulse: Pulse | None = None
) -> bool:
    """Run a service in this process until SIGTERM or SIGINT; see `Supervisor.run`. pulse gets its signs of life."""
    supervisor = Supervisor(config, once, companions, pulse)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    return supervisor.run()


def _describe_trouble(error: Exception) -> Problem:
    message = f"The service meets a fault of its own ({type(error).__name__}), tries again, and notes where in its log."
    return Problem("INTERNAL_FAULT", message, "Please report it with the log.")


@contextlib.contextmanager
def _watch_files(config: ServiceConfig, wake: Callable[[], None]) -> Iterator[None]:
    """Let file events wake the scan where they can be trusted at all; without them it polls."""
    observer = None
    if config.polling == "never" or (config.polling == "auto" and not on_network(config.inbox)):
        from watchdog import events
        from watchdog.observers import Observer

        class Waker(events.FileSystemEventHandler):
            def on_any_event(self, _event: events.FileSystemEvent) -> None:
                wake()

        # Not that files are opened and closed unchanged: we do that ourselves.
        changes: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileClosedEvent,
            events.FileDeletedEvent, events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent,
        ]  # fmt: skip
        observer = Observer()
        try:
            observer.schedule(Waker(), str(config.inbox), recursive=True, event_filter=changes)
            observer.start()
        except OSError:  # no more watches: polling it is
            logs.event("polling", code="NO_WATCHES")
            observer = None
    try:
        yield
    finally:
        if observer is not None:
            observer.stop()
            observer.join()
