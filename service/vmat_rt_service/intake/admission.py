"""From files in the inbox to ready jobs: survey, assess, stage. One step at a time; it never waits."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import has_enough_space
from vmat_rt_service.intake.catalogue import Catalogue, find_folder_of
from vmat_rt_service.intake.reader_process import Reader, ReaderAnswer
from vmat_rt_service.intake.readiness import Assessment, Ready, Waiting, assess
from vmat_rt_service.intake.survey import Survey
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import INCOMPLETE, State
from vmat_rt_service.logs import event
from vmat_rt_service.outbox.refusal import publish_refusal, withdraw

_STAGED_AHEAD = 4
_BACK_OFF_SECONDS = 5.0
_ASSESS_SECONDS = 10.0


@dataclass
class _Group:
    """One group that is not a job yet: since when it is as it is, and what its row in the journal says."""

    assessment: Assessment
    signature: str
    since: float
    sentence: str = ""
    changed: bool = False


class Intake:
    """Watches one inbox. Everything it remembers can be found again by looking: a restart loses nothing."""

    def __init__(self, config: ServiceConfig, journal: Journal, reader: Reader, once: bool = False) -> None:
        self._config, self._journal, self._reader, self._once = config, journal, reader, once
        self._survey = Survey(config, reader)
        self._groups: dict[str, _Group] = {}
        self._wanted: set[str] = set()
        self._disposals: deque[dict[str, Any]] = deque()
        self._disposed: set[int] = set()
        self._assessed_at = float("-inf")
        self._not_before = 0.0
        self._seen_whole = False
        self.blocked = False

    def wake(self) -> None:
        """Look at the inbox in the next step."""
        self._survey.wake()

    def reconsider(self) -> None:
        """A job ended: what is known of its files may have changed."""
        self._survey.stale = True

    @property
    def scans(self) -> int:
        """How often the inbox was looked at."""
        return self._survey.scans

    @property
    def settled(self) -> bool:
        """Whether everything in the inbox was looked at and nothing complete is left to stage."""
        waiting = all(isinstance(group.assessment.verdict, Waiting) for group in self._groups.values())
        idle = not self._reader.busy and not self._survey.stale and not self._disposals
        return self._seen_whole and self._survey.complete and idle and waiting

    def due(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        return self._survey.due(now)

    def step(self, now: float) -> None:
        """Do what is due."""
        answer = self._reader.poll(now)
        if answer is not None:
            self._take(answer, now)
        if self._survey.complete and not self._seen_whole:
            self._survey.stale = self._seen_whole = True  # what an earlier run waited for may be gone
        if self._survey.stale and (not self._survey.pending or now - self._assessed_at > _ASSESS_SECONDS):
            self._assess_groups(now)
        if not self._survey.stale:
            self._settle(now)
        if self._disposals and not self._reader.busy:
            self._reader.submit(self._disposals.popleft(), now)
        self._survey.step(now)

    def _take(self, answer: ReaderAnswer, now: float) -> None:
        if answer.request["do"] == "examine":
            self._survey.take(answer)
        elif answer.request["do"] == "stage":
            self._finish_staging(answer, now)
        else:
            event("inputs disposed of", job=answer.request["job"], code=answer.content.get("failed"))
            self.wake()

    # ---- judging

    def _assess_groups(self, now: float) -> None:
        self._survey.stale, self._assessed_at = False, now
        headers = {path: header for path, (_, header) in self._survey.examined.items() if header.kind != "foreign"}
        known: list[tuple[Ready, Job]] = []
        groups: dict[str, _Group] = {}
        for assessment in assess(Catalogue(headers)):
            job = self._find_job(assessment)
            if job is None:
                groups[assessment.anchor] = self._group(assessment, now)
            elif isinstance(assessment.verdict, Ready):
                known.append((assessment.verdict, job))
        self._groups = groups
        verdicts = [group.assessment.verdict for group in groups.values()]
        self._wanted = {path for verdict in verdicts if isinstance(verdict, Ready) for path in verdict.files}
        if self._config.after_success != "keep":
            self._dispose_inputs(known)
        if self._survey.complete:
            self._forget_vanished()

    def _find_job(self, assessment: Assessment) -> Job | None:
        """The job that these files were taken for before, or are what was left of."""
        if isinstance(assessment.verdict, Ready):
            return self._journal.find_sighted(self._sign(assessment.verdict.files))
        jobs = (self._journal.find_sighted(mark) for mark in self._collect_marks(assessment.own))
        return next((job for job in jobs if job is not None), None)

    def _group(self, assessment: Assessment, now: float) -> _Group:
        verdict = assessment.verdict
        files = verdict.files if isinstance(verdict, Ready) else assessment.own
        text = verdict.sentence if isinstance(verdict, Waiting) else ""
        signature = f"{self._sign(files)} {text}"
        before = self._groups.get(assessment.anchor)
        if before is not None and before.signature == signature:
            before.assessment = assessment
            return before
        return _Group(assessment, signature, now, changed=before is not None)

    def _sign(self, files: Iterable[str]) -> str:
        return self._journal.digest("files", *(f"{p}\0{self._survey.examined[p][0]}" for p in sorted(files)))

    def _collect_marks(self, files: Iterable[str]) -> list[str]:
        """What the rest of a job's files is recognised by when some were taken away: RTSTRUCT, CT series."""
        marks = set()
        for path in files:
            version, header = self._survey.examined[path]
            if header.kind == "RTSTRUCT":
                marks.add(self._journal.digest("own", path, version))
            elif header.kind == "CT":
                marks.add(self._journal.digest("series", header.series))
        return sorted(marks)

    def _digest_source(self, anchor: str) -> str:
        return self._journal.digest("source", anchor)

    def _forget_vanished(self) -> None:
        present = {self._digest_source(anchor) for anchor in self._groups}
        for job, source in self._journal.list_incomplete():
            if source in present:
                continue
            if job.content_hash is None:
                withdraw(self._config.outbox, job.key)
                self._journal.forget_incomplete(job.id)
            elif job.reason_code != "FILES_GONE":
                self._journal.receive(source, job.key, "FILES_GONE", "its files are no longer in the inbox")

    # ---- acting

    def _settle(self, now: float) -> None:
        unsettled = self._survey.find_unsettled_folders(now) if self._groups else set()
        for group in self._groups.values():
            verdict = group.assessment.verdict
            if isinstance(verdict, Waiting):
                self._wait(group, verdict, now)
            elif now - group.since >= self._choose_patience(verdict, unsettled):
                self._stage(group, verdict, now)

    def _choose_patience(self, verdict: Ready, unsettled: set[str]) -> float:
        """How long a complete group is left alone: something of it may still be on its way."""
        if not verdict.certain and self._survey.pending:
            return float("inf")
        quiet = not unsettled & {find_folder_of(path) for path in verdict.files}
        return 0.0 if quiet and (verdict.certain or self._once) else self._config.settle_seconds

    def _wait(self, group: _Group, verdict: Waiting, now: float) -> None:
        patience = self._config.patience_minutes * 60
        overdue = now - group.since >= patience
        if group.sentence == verdict.sentence and not overdue:
            return
        job = self._record(group, verdict.code, verdict.sentence)
        if group.changed and group.sentence != verdict.sentence and job.state is State.QUARANTINED and not overdue:
            job = self._journal.move(job.id, State.RECEIVING, "files arrived")
            withdraw(self._config.outbox, job.key)
        group.sentence = verdict.sentence
        if overdue:
            group.since = float("inf")  # said once
        if overdue and job.state is State.RECEIVING:
            publish_refusal(self._config.outbox, job.key, State.QUARANTINED, [verdict.as_problem()])
            self._journal.move(job.id, State.QUARANTINED, verdict.code)
            event("quarantined", job=job.id, key=job.key, code=verdict.code)

    def _record(self, group: _Group, code: str, sentence: str) -> Job:
        source = self._digest_source(group.assessment.anchor)
        return self._journal.receive(source, f"case-{source[:10]}", code, sentence)

    def _stage(self, group: _Group, verdict: Ready, now: float) -> None:
        if self._reader.busy or now < self._not_before:
            return
        counts = self._journal.count_jobs()
        if counts[State.READY] + counts[State.RUNNING] >= self._config.workers + _STAGED_AHEAD:
            self._say(group, f"complete, {len(verdict.files)} files; waiting for its turn")
            return
        versions = {path: self._survey.examined[path][0] for path in verdict.files}
        self.blocked = not has_enough_space(self._config, sum(version.size for version in versions.values()))
        if self.blocked:
            self._not_before = now + _BACK_OFF_SECONDS
            self._say(group, f"complete, {len(verdict.files)} files; waiting for disk space")
            event("low disk", waiting=len(self._groups))
            return
        job = self._record(group, "COMPLETE", f"complete, {len(verdict.files)} files; being copied")
        files = [(p, name, versions[p].size, versions[p].mtime_ns) for p, name in self._name_files(verdict.files)]
        signatures = [self._sign(verdict.files), *self._collect_marks(verdict.files)]
        request = {"do": "stage", "folder": str(self._config.staging), "files": files, "job": job.id}
        self._reader.submit({**request, "signatures": signatures}, now)

    def _say(self, group: _Group, sentence: str) -> None:
        if group.sentence != sentence:
            self._record(group, "COMPLETE", sentence)
            group.sentence = sentence

    def _name_files(self, files: Iterable[str]) -> list[tuple[str, str]]:
        """Neutral names: by kind, number and z. The site's own may hold the patient's."""
        counts: dict[str, int] = {}
        named = []
        for path in files:
            header = self._survey.examined[path][1]
            counts[header.kind] = counts.get(header.kind, 0) + 1
            z = f"_z{header.z_mm:g}mm" if header.z_mm is not None else ""
            named.append((path, f"{header.kind}_{counts[header.kind]:04d}{z}.dcm"))
        return named

    def _finish_staging(self, answer: ReaderAnswer, now: float) -> None:
        request, content = answer.request, answer.content
        self.reconsider()
        if "failed" in content:
            event("not staged", job=request["job"], code=content["failed"])
            self.blocked = content["failed"] == "DISK_FULL"
            self._not_before = now + _BACK_OFF_SECONDS
            self.wake()
            return
        before = self._journal.find_job(request["job"])
        if before is None or before.state not in INCOMPLETE:
            return
        facts = (content["files"], content["content_hash"])
        job = self._journal.admit(before.id, content["key"], *facts, request["signatures"])
        withdraw(self._config.outbox, before.key)
        if job.state in (State.READY, State.RUNNING):
            event("ready", job=job.id, key=job.key, count=len(content["files"]))
        else:
            shutil.rmtree(self._config.staging / content["content_hash"], ignore_errors=True)

    def _dispose_inputs(self, known: list[tuple[Ready, Job]]) -> None:
        """Have the inputs of done jobs archived or deleted, except those that another group still needs."""
        unfinished = {p for verdict, job in known if job.state is not State.DONE for p in verdict.files}
        for verdict, job in known:
            if job.state is not State.DONE or job.id in self._disposed:
                continue
            files = [p for p in verdict.files if p not in unfinished | self._wanted]
            folder = (
                str(self._config.archive / job.key)
                if self._config.after_success == "archive" and self._config.archive
                else None
            )
            request = {
                "do": "dispose",
                "files": self._name_files(files),
                "hashes": [*self._journal.list_inputs(job.id)],
            }
            self._disposals.append({**request, "folder": folder, "job": job.id})
            self._disposed.add(job.id)
