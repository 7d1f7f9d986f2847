"""A worker: claims a job, predicts, publishes, until no job is ready. The model stays in memory between jobs."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from vmat_rt.errors import ConfigError, InputError, ModelError, Problem
from vmat_rt_service import children, logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import has_enough_space
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.lock import turn
from vmat_rt_service.outbox.publishing import WORK_FOLDER, Record, find_published, hash_folder, publish
from vmat_rt_service.work import closing


class Worker:
    """One process's work. name stands in the journal while a job runs."""

    def __init__(self, config: ServiceConfig, journal: Journal, name: str) -> None:
        self._config, self._journal, self._name = config, journal, name

    def work(self, channel: Any, ended: Callable[[], bool] = lambda: False) -> None:
        """Claim and run jobs until there is none, no room for results, or `ended`; the parent hears of each."""
        blocked = False
        while not blocked and not ended() and has_enough_space(self._config):
            job = self._journal.claim(self._name)
            if job is None:
                break
            children.tell(channel, {"started": job.id})
            blocked = self.run(job).state is State.READY
            children.tell(channel, {"ended": job.id})
        children.tell(channel, {"idle": True, "blocked": blocked})

    def run(self, job: Job) -> Job:
        """One job to its end. Returned in state ready where the outbox could not take the result."""
        config, journal = self._config, self._journal
        record = find_published(config.outbox, job)
        if record is not None:
            return closing.complete(config, journal, job, record)
        staged = config.staging / (job.content_hash or "")
        try:
            return closing.complete(config, journal, job, self._predict_job(job, staged), fresh=True)
        except InputError as error:
            if error.is_of_the_machine:
                logs.event("no room for results", job=job.id, key=job.key, code=error.problems[0].code)
                return journal.give_back(job.id, "no room for results", counted=False)
            return closing.give_up(config, journal, job, State.REFUSED, error.problems, _collect_identity(staged))
        except MemoryError:
            return closing.give_up(config, journal, job, State.REFUSED, [describe_memory_problem(config)])
        except (ConfigError, ModelError) as error:
            logs.crash("not configured", error, job=job.id)
            return closing.give_up(config, journal, job, State.FAILED, [_describe_settings_problem(error)])

    def _predict_job(self, job: Job, staged: Path) -> Record:
        """Predict into a hidden folder beside the results, then publish by one rename."""
        from vmat_rt.protocol import load_protocol
        from vmat_rt.study.choice import StudyChoice
        from vmat_rt.study.outputs import Outputs
        from vmat_rt.study.predict import predict_study

        config = self._config
        protocol = load_protocol(config.protocol) if config.protocol else None
        outputs = Outputs(isodose_percent=config.isodose_percent, identify=config.identify)
        work = config.outbox / WORK_FOLDER / str(job.id)
        shutil.rmtree(work, ignore_errors=True)
        begun = time.perf_counter()
        with take_device_turn(config):
            made = predict_study(
                staged,
                work,
                StudyChoice(protocol=protocol),
                outputs,
                config.model,
                config.device,
                allow_outside=config.allow_outside,
            )
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
        name = publish(made.folder, config.outbox, record)
        shutil.rmtree(work, ignore_errors=True)
        return Record(**{**record.__dict__, "key": name})


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
