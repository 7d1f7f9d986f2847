"""A worker: claims a job, predicts, publishes, until no job is ready. The model stays in memory between jobs."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from vmat_rt.errors import ConfigError, InputError, ModelError, Problem, VmatError
from vmat_rt_service import children, logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import find_machine_fault, find_shortage
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.lock import turn
from vmat_rt_service.outbox.publishing import WORK_FOLDER, Record, find_published, hash_folder, publish, read_record
from vmat_rt_service.places import Places
from vmat_rt_service.work import closing
from vmat_rt_service.work.predicting import predict_as_configured


class Worker:
    """One process's work. name stands in the journal while a job runs."""

    def __init__(self, config: ServiceConfig, journal: Journal, name: str) -> None:
        self._config, self._journal, self._name = config, journal, name
        self._places = Places(config)
        self._fault: Problem | None = None

    def work(self, channel: Any, ended: Callable[[], bool] = lambda: False) -> None:
        """Claim and run jobs until there is none, no room for results, or `ended`; the parent hears of each."""
        self._fault = None
        while not ended() and self._can_work():
            job = self._journal.claim(self._name)
            if job is None:
                break
            children.tell(channel, {"started": job.id})
            self.run(job)
            children.tell(channel, {"ended": job.id})
        self._tell_end(channel)

    def _tell_end(self, channel: Any) -> None:
        if self._fault is not None:
            children.tell(channel, {"fault": self._fault.as_dict()})
        children.tell(channel, {"idle": True, "blocked": self._fault is not None})

    def _can_work(self) -> bool:
        """Whether nothing is known to stop the next job."""
        if self._fault is None:
            try:
                self._fault = self._places.find_changed() or find_shortage(self._config)
            except OSError as error:
                self._fault = find_machine_fault(error)
        return self._fault is None

    def run(self, job: Job) -> Job:
        """One job to its end. Returned in state ready where disk or share could not take what became of it."""
        try:
            return self._run(job)
        except (InputError, OSError, sqlite3.Error) as error:
            self._fault = find_machine_fault(error)
            if self._fault is None:
                raise
            logs.event("no room for results", job=job.id, key=job.key, code=self._fault.code)
            return self._journal.give_back(job.id, "no room for results", counted=False)

    def _run(self, job: Job) -> Job:
        config, journal = self._config, self._journal
        self._places.require()
        record = find_published(config.outbox, job, journal.is_ours)
        if record is not None:
            return closing.complete(config, journal, job, record)
        staged = config.staging / (job.content_hash or "")
        try:
            record = self._predict_job(job, staged)
        except InputError as error:
            if error.is_of_the_machine:
                raise
            return closing.give_up(config, journal, job, State.REFUSED, error.problems, _collect_identity(staged))
        except MemoryError:
            return closing.give_up(config, journal, job, State.REFUSED, [describe_memory_problem(config)])
        except (ConfigError, ModelError) as error:
            logs.crash("not configured", error, job=job.id)
            return closing.give_up(config, journal, job, State.FAILED, [_describe_settings_problem(error)])
        except VmatError as error:  # both names in the outbox are others'
            logs.crash("not published", error, job=job.id)
            return closing.give_up(config, journal, job, State.FAILED, [_describe_taken_names(job)])
        return closing.complete(config, journal, job, record, fresh=True)

    def _predict_job(self, job: Job, staged: Path) -> Record:
        """Predict into a hidden folder beside the results, then publish by one rename."""
        config = self._config
        work = config.outbox / WORK_FOLDER / str(job.id)
        shutil.rmtree(work, ignore_errors=True)
        begun = time.perf_counter()
        with take_device_turn(config):
            made = predict_as_configured(config, staged, work)
        model = made.model
        assert made.folder is not None
        record = Record(
            content_hash=job.content_hash or "",
            key=job.key,
            model={"name": model.name, "version": model.version, "sha256": model.sha256},
            versions=audit.list_versions(),
            files=hash_folder(made.folder),
            seconds=time.perf_counter() - begun,
        )
        self._places.require()
        self._journal.expect_result(record.content_hash, record.files)
        name = publish(made.folder, config.outbox, record, self._journal.is_ours)
        self._places.require()  # a share that went meanwhile took the result along
        shutil.rmtree(work, ignore_errors=True)
        published = read_record(config.outbox / name) or record
        if published.files != record.files:  # the result of an earlier service, which computed the same
            self._journal.expect_result(published.content_hash, published.files)
        return Record(**{**published.__dict__, "key": name})


def take_device_turn(config: ServiceConfig) -> AbstractContextManager[None]:
    """Workers take turns at a GPU; on the CPU they need not."""
    if not uses_gpu(config):
        return nullcontext()
    return turn(config.state / f"device-{config.device.replace(':', '-')}.lock")


def uses_gpu(config: ServiceConfig) -> bool:
    """Whether a network would run on a GPU here, told without loading torch."""
    return config.device.startswith("cuda") or (config.device == "auto" and Path("/dev/nvidiactl").exists())


def describe_memory_problem(config: ServiceConfig) -> Problem:
    return Problem(
        "MEMORY_LIMIT",
        f"The study needs more than the {config.job_memory_gb:g} GB of memory that a job may use.",
        "Check the size of its images; raise job_memory_gb where they are right.",
    )


def _describe_settings_problem(error: Exception) -> Problem:
    message = "The service's protocol, model or device cannot be used."
    return Problem(type(error).__name__.upper(), message, f"Check the service's configuration: {error}")


def _describe_taken_names(job: Job) -> Problem:
    message = f"The outbox holds folders of the names for this result ({job.key}) that this service did not write."
    return Problem("NAME_TAKEN", message, "Look at what they are, move them away, and run `vmat-rt jobs retry`.")


def _collect_identity(staged: Path) -> frozenset[str]:
    from vmat_rt.dicom.identity import identifying_values

    return frozenset(word for path in staged.iterdir() for word in identifying_values(path))


def _limit_memory(config: ServiceConfig) -> None:
    """Beyond the limit an allocation fails, and with it one job. CUDA reserves more than it uses, so not there."""
    if not uses_gpu(config):
        limit = int(config.job_memory_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main(arguments: list[str]) -> None:
    """Work at each wish of the supervisor; end when it closes the pipe."""
    (name,) = children.begin(arguments)
    logs.start_logging()
    channel = children.reply_channel()
    config = ServiceConfig.model_validate_json(sys.stdin.readline())
    logs.silence_libraries()
    _limit_memory(config)
    worker = Worker(config, Journal(config.journal), name)
    for line in sys.stdin:
        assert json.loads(line)["do"] == "work"
        try:
            worker.work(channel, children.is_told_to_end)
        except Exception as error:  # the boundary: the supervisor settles the current job, as after a crash
            logs.crash("worker failed", error, worker=name)
            raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1:])
