"""A complete group becomes a ready job, or is refused: its files are copied, in turns, and not for ever in vain."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmat_rt.errors import Problem
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import find_shortage, measure_room
from vmat_rt_service.intake.attempts import Attempts
from vmat_rt_service.intake.reader_process import Reader, ReaderAnswer
from vmat_rt_service.intake.readiness import Assessment
from vmat_rt_service.intake.signatures import Signatures
from vmat_rt_service.intake.survey import Survey
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import INCOMPLETE, State
from vmat_rt_service.logs import event
from vmat_rt_service.outbox.refusal import publish_refusal, withdraw

_STAGED_AHEAD = 4
_BACK_OFF_SECONDS = 5.0


@dataclass
class Group:
    """One group that is not a job yet: since when it is as it is, and what its row in the journal says."""

    assessment: Assessment
    signature: str
    since: float
    sentence: str = ""
    changed: bool = False


class Taking:
    """Copies groups through the readers. trouble: what stops every group, None where nothing does."""

    def __init__(self, config: ServiceConfig, journal: Journal, survey: Survey, reader: Reader) -> None:
        self._config, self._journal, self._survey, self._reader = config, journal, survey, reader
        self._signatures = Signatures(journal, survey)
        self._attempts = Attempts(config.intake_attempts)
        self._not_before = 0.0
        self.trouble: Problem | None = None

    def order(self, groups: Sequence[Group]) -> list[Group]:
        """Whose turn it is: those that never failed first, then by how long they have been complete."""
        self._attempts.keep_only({group.signature for group in groups})
        return sorted(groups, key=lambda group: (self._attempts.count(group.signature), group.since))

    def record(self, group: Group, code: str, sentence: str) -> Job:
        """The group's row in the journal."""
        source = self._signatures.digest_source(group.assessment.anchor)
        return self._journal.receive(source, f"case-{source[:10]}", code, sentence)

    def stage(self, group: Group, files: tuple[str, ...], now: float) -> None:
        """Have the files copied where a reader is free, it is the group's turn, and there is room."""
        reader = self._reader.second if any(map(self._survey.takes_long, files)) else self._reader
        if reader.busy or now < self._not_before or not self._attempts.may_try(group.signature, now):
            return
        counts = self._journal.count_jobs()
        if counts[State.READY] + counts[State.RUNNING] >= self._config.workers + _STAGED_AHEAD:
            self._say(group, f"complete, {len(files)} files; waiting for its turn")
            return
        if not self._has_room(group, files, now):
            return
        job = self.record(group, "COMPLETE", f"complete, {len(files)} files; being copied")
        group.sentence = ""
        versions = {path: self._survey.examined[path][0] for path in files}
        copied = [
            (path, name, versions[path].size, versions[path].mtime_ns, versions[path].ctime_ns, versions[path].identity)
            for path, name in self._signatures.name_files(files)
        ]
        signatures = [self._signatures.sign(files), *self._signatures.collect_marks(files)]
        request = {"do": "stage", "folder": str(self._config.staging), "files": copied, "job": job.id}
        reader.submit({**request, "signatures": signatures, "group": group.assessment.anchor}, now)

    def finish(self, answer: ReaderAnswer, group: Group | None, now: float) -> None:
        """What became of a copy. group: the one it was made for, where its files are still the same."""
        request, content = answer.request, answer.content
        if "failed" in content:
            event("not staged", job=request["job"], code=content["failed"])
            self._note_failure(content, group, now)
            return
        self.trouble = None
        before = self._journal.find_job(request["job"])
        if before is None or before.state not in INCOMPLETE:
            return
        facts = (content["key"], content["files"], content["content_hash"])
        job = self._journal.admit(before.id, *facts, request["signatures"], content["essence"])
        withdraw(self._config.outbox, before.key)
        if job.state in (State.READY, State.RUNNING) and job.content_hash == content["content_hash"]:
            event("ready", job=job.id, key=job.key, count=len(content["files"]))
        else:
            shutil.rmtree(self._config.staging / content["content_hash"], ignore_errors=True)

    def refuse(self, group: Group, files: Sequence[str], problem: Problem) -> None:
        """Refuse files that never became a job with a content; these very files are not looked at again."""
        job = self.record(group, problem.code, "refused")
        publish_refusal(self._config.outbox, job.key, State.REFUSED, [problem])
        audit.append(self._config, self._journal, "refused", job=job.id, key=job.key, codes=problem.code)
        reason = f"see refused/{job.key}/reason.html"
        self._journal.refuse_untaken(job.id, problem.code, reason, [self._signatures.sign(files)])
        event("refused", job=job.id, key=job.key, code=problem.code)
        self._survey.stale = True

    def _has_room(self, group: Group, files: tuple[str, ...], now: float) -> bool:
        needed = sum(self._survey.examined[path][0].size for path in files)
        self.trouble = find_shortage(self._config)
        kept_free = self._config.min_free_gb * 1e9
        if self.trouble is None and measure_room(self._config.state).free_bytes - needed >= kept_free:
            return True
        self._say(group, f"complete, {len(files)} files; waiting for disk space")
        if self.trouble is not None:
            self._not_before = now + _BACK_OFF_SECONDS
            event("low disk", code=self.trouble.code)
        elif self._attempts.note_failure(group.signature, now):
            self.refuse(group, files, self._describe_no_room(needed))
        return False

    def _note_failure(self, content: dict[str, Any], group: Group | None, now: float) -> None:
        self.trouble = find_shortage(self._config)
        if self.trouble is None and content["failed"] == "OUTPUT_NOT_WRITABLE":
            message = "The state folder cannot be written to."
            self.trouble = Problem("OUTPUT_NOT_WRITABLE", message, "Give the service's user the right to write there.")
        if self.trouble is not None:
            self._not_before = now + _BACK_OFF_SECONDS
            return
        if group is None:
            return
        verdict = group.assessment.verdict
        if self._attempts.note_failure(group.signature, now):
            files = getattr(verdict, "files", group.assessment.own)
            self.refuse(group, files, self._describe_failure(content))

    def _describe_failure(self, content: dict[str, Any]) -> Problem:
        times = f"in {self._config.intake_attempts} attempts"
        remedy = f"Send it again; or mend that, then run `vmat-rt jobs retry ID --state {self._config.state}`."
        why = f" ({content['why']})" if content.get("why") else ""
        match content["failed"]:
            case "UNREADABLE":
                return Problem("UNREADABLE", f"Files of the study could not be read {times}{why}.", remedy)
            case "CHANGED":
                return Problem("FILES_CHANGING", f"Files of the study changed while they were copied, {times}.", remedy)
            case "DISK_FULL":
                return Problem("NO_ROOM", f"The study's copy found no room on the disk {times}.", remedy)
        return Problem("NOT_TAKEN", f"The study could not be copied {times}.", remedy)

    def _describe_no_room(self, needed: int) -> Problem:
        free = f"{needed / 1e9:.2f} GB, which would leave less than min_free_gb ({self._config.min_free_gb:g} GB)"
        remedy = f"Make room, then run `vmat-rt jobs retry ID --state {self._config.state}`."
        return Problem("NO_ROOM", f"The study needs {free} on the disk of the state folder.", remedy)

    def _say(self, group: Group, sentence: str) -> None:
        if group.sentence != sentence:
            self.record(group, "COMPLETE", sentence)
            group.sentence = sentence
