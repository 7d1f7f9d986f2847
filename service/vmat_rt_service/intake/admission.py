"""From files in the inbox to ready jobs: survey, assess, take. One step at a time; it never waits."""

from __future__ import annotations

from collections import deque
from typing import Any

from vmat_rt.errors import Problem
from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.disk import find_machine_fault
from vmat_rt_service.intake.catalogue import Catalogue, find_folder_of
from vmat_rt_service.intake.reader_process import Reader, ReaderAnswer
from vmat_rt_service.intake.readiness import Assessment, Ready, Rejected, Waiting, assess
from vmat_rt_service.intake.signatures import Signatures
from vmat_rt_service.intake.survey import Survey
from vmat_rt_service.intake.taking import Group, Taking
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox.refusal import publish_refusal, withdraw

_ASSESS_SECONDS = 10.0


class Intake:
    """Watches one inbox. Everything it remembers can be found again by looking: a restart loses nothing."""

    def __init__(self, config: ServiceConfig, journal: Journal, reader: Reader, once: bool = False) -> None:
        self._config, self._journal, self._reader, self._once = config, journal, reader, once
        self._survey = Survey(config, reader, journal)
        self._signatures = Signatures(journal, self._survey)
        self._taking = Taking(config, journal, self._survey, reader)
        self._groups: dict[str, Group] = {}
        self._given_up: set[str] = set()
        self._wanted: set[str] = set()
        self._disposals: deque[dict[str, Any]] = deque()
        self._disposed: set[int] = set()
        self._assessed_at = float("-inf")
        self._seen_whole = False

    def wake(self) -> None:
        """Look at the inbox in the next step."""
        self._survey.wake()

    def reconsider(self) -> None:
        """A job ended: what is known of its files may have changed."""
        self._survey.stale = True

    @property
    def trouble(self) -> Problem | None:
        """What stops every study from being taken."""
        return self._taking.trouble

    @property
    def blocked(self) -> bool:
        return self.trouble is not None

    @property
    def scans(self) -> int:
        """How often the inbox was looked at."""
        return self._survey.scans

    @property
    def settled(self) -> bool:
        """Whether everything in the inbox was looked at and nothing complete is left to stage."""
        waiting = all(isinstance(group.assessment.verdict, Waiting) for group in self._groups.values())
        idle = not self._reader.busy and not self._reader.second.busy and not self._survey.stale
        return self._seen_whole and self._survey.complete and idle and not self._disposals and waiting

    def due(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        return self._survey.due(now)

    def step(self, now: float) -> None:
        """Do what is due."""
        for reader, second in ((self._reader, False), (self._reader.second, True)):
            answer = reader.poll(now)
            if answer is not None:
                self._take(answer, second, now)
        if self._survey.complete and not self._seen_whole:
            self._survey.stale = self._seen_whole = True  # what an earlier run waited for may be gone
        if self._survey.stale and (not self._survey.pending or now - self._assessed_at > _ASSESS_SECONDS):
            self._assess_groups(now)
        if not self._survey.stale:
            self._settle(now)
        if self._disposals and not self._reader.busy:
            self._reader.submit(self._disposals.popleft(), now)
        self._survey.step(now)

    def _take(self, answer: ReaderAnswer, second: bool, now: float) -> None:
        if answer.request["do"] == "examine":
            (self._survey.take_second if second else self._survey.take)(answer)
        elif answer.request["do"] == "stage":
            self.reconsider()
            self.wake()
            self._taking.finish(answer, self._groups.get(answer.request["group"]), now)
        else:
            content = answer.content
            code = content.get("failed") or ("OUTSIDE_OR_CHANGED" if content.get("kept") else None)
            logs.event("inputs disposed of", job=answer.request["job"], code=code)
            self.wake()

    # ---- judging

    def _assess_groups(self, now: float) -> None:
        self._survey.stale, self._assessed_at = False, now
        headers = {path: header for path, (_, header) in self._survey.examined.items() if header.kind != "foreign"}
        known: list[tuple[Ready, Job]] = []
        groups: dict[str, Group] = {}
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
        if not isinstance(assessment.verdict, Waiting):
            return self._journal.find_sighted(self._signatures.sign(assessment.verdict.files))
        jobs = (self._journal.find_sighted(mark) for mark in self._signatures.collect_marks(assessment.own))
        return next((job for job in jobs if job is not None), None)

    def _group(self, assessment: Assessment, now: float) -> Group:
        verdict = assessment.verdict
        files = assessment.own if isinstance(verdict, Waiting) else verdict.files
        text = verdict.sentence if isinstance(verdict, Waiting) else ""
        signature = f"{self._signatures.sign(files)} {text}"
        before = self._groups.get(assessment.anchor)
        if before is not None and before.signature == signature:
            before.assessment = assessment
            return before
        return Group(assessment, signature, now, changed=before is not None)

    def _forget_vanished(self) -> None:
        present = {self._signatures.digest_source(anchor) for anchor in self._groups}
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
        """Each group's next step. What one group leads to is that group's: others go on."""
        unsettled = self._survey.find_unsettled_folders(now) if self._groups else set()
        for group in self._taking.order(list(self._groups.values())):
            if group.signature in self._given_up:
                continue
            try:
                self._advance(group, unsettled, now)
            except Exception as error:  # the boundary between one study and all others
                if find_machine_fault(error) is not None:
                    raise
                self._quarantine(group, error)

    def _advance(self, group: Group, unsettled: set[str], now: float) -> None:
        verdict = group.assessment.verdict
        if isinstance(verdict, Waiting):
            self._wait(group, verdict, now)
        elif now - group.since < self._choose_patience(verdict, unsettled):
            return
        elif isinstance(verdict, Rejected):
            self._taking.refuse(group, verdict.files, verdict.problem)
        else:
            self._taking.stage(group, verdict.files, now)

    def _quarantine(self, group: Group, error: Exception) -> None:
        """Refuse a group over which our own code failed, and do not try these files again."""
        logs.crash("study given up", error)
        self._given_up.add(group.signature)
        verdict = group.assessment.verdict
        files = group.assessment.own if isinstance(verdict, Waiting) else verdict.files
        message = f"The service failed over the files of this study ({type(error).__name__}); others go on."
        self._taking.refuse(group, files, Problem("INTAKE_FAILED", message, "Please report it with the service's log."))

    def _choose_patience(self, verdict: Ready | Rejected, unsettled: set[str]) -> float:
        """How long a complete group is left alone: something of it may still be on its way, or be sent once more."""
        certain = isinstance(verdict, Rejected) or verdict.certain
        if not certain and self._survey.pending:
            return float("inf")
        quiet = not unsettled & {find_folder_of(path) for path in verdict.files}
        if quiet and self._once:
            return 0.0
        return 0.0 if quiet and certain and not self._comes_again(verdict) else self._config.settle_seconds

    def _comes_again(self, verdict: Ready | Rejected) -> bool:
        """Whether a job had this RTSTRUCT or CT series before: then the rest of it may be sent again as well."""
        marks = self._signatures.collect_marks(verdict.files)
        return any(self._journal.find_sighted(mark) is not None for mark in marks)

    def _wait(self, group: Group, verdict: Waiting, now: float) -> None:
        patience = self._config.patience_minutes * 60
        overdue = now - group.since >= patience
        if group.sentence == verdict.sentence and not overdue:
            return
        job = self._taking.record(group, verdict.code, verdict.sentence)
        if group.changed and group.sentence != verdict.sentence and job.state is State.QUARANTINED and not overdue:
            job = self._journal.move(job.id, State.RECEIVING, "files arrived")
            withdraw(self._config.outbox, job.key)
        group.sentence = verdict.sentence
        if overdue and job.state is State.RECEIVING:
            publish_refusal(self._config.outbox, job.key, State.QUARANTINED, [verdict.as_problem()])
            self._journal.move(job.id, State.QUARANTINED, verdict.code)
            logs.event("quarantined", job=job.id, key=job.key, code=verdict.code)
        if overdue:
            group.since = float("inf")  # said once

    def _dispose_inputs(self, known: list[tuple[Ready, Job]]) -> None:
        """Have the inputs of done jobs archived or deleted, except those that another group still needs."""
        unfinished = {p for verdict, job in known if job.state is not State.DONE for p in verdict.files}
        for verdict, job in known:
            if job.state is not State.DONE or job.id in self._disposed:
                continue
            files = [p for p in verdict.files if p not in unfinished | self._wanted]
            archive = self._config.archive if self._config.after_success == "archive" else None
            request = {
                "do": "dispose",
                "files": self._signatures.name_files(files),
                "hashes": [*self._journal.list_inputs(job.id)],
                "folder": str(archive / job.key) if archive else None,
                "inbox": str(self._config.inbox),
            }
            self._disposals.append({**request, "job": job.id})
            self._disposed.add(job.id)
