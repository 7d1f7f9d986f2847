"""What the page can change: run a study again, take an uploaded one, say whose a study is. Each is audited.

The audit log says what was done to which job and from which address; it never says whose the study is.
"""

from __future__ import annotations

from http import HTTPStatus

from vmat_rt_service import logs
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.readings import reading
from vmat_rt_service.journal.states import IllegalTransitionError
from vmat_rt_service.web import upload
from vmat_rt_service.web.access import Access
from vmat_rt_service.web.answers import Answer
from vmat_rt_service.web.forms import Body, FormError
from vmat_rt_service.web.lookup import look_up
from vmat_rt_service.web.page import Pages


class Changes:
    """Answers requests that change something or tell whose a study is; the server has asked for the token before."""

    def __init__(self, config: ServiceConfig, access: Access, pages: Pages) -> None:
        self._config, self._access, self._pages = config, access, pages

    def takes(self, path: str) -> bool:
        """Whether a path is one of a change."""
        return _find_job_action(path) is not None or path == "/upload"

    def answer(self, path: str, body: Body) -> Answer:
        """Do it, where the form is ours. Raises sqlite3.Error, OSError."""
        try:
            if path == "/upload":
                return self._upload(body)
            found = _find_job_action(path)
            assert found is not None
            self._require_form(body, {} if body.trusted else body.read_fields())
            number, action = found
            return self._retry(number) if action == "retry" else self._look_up(number)
        except FormError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except upload.UploadError as error:
            logs.event("upload refused")
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _require_form(self, body: Body, fields: dict[str, str]) -> None:
        if not body.trusted and not self._access.knows_form(fields.get("form", "")):
            raise FormError("This form is not of this page, or older than its token: open the page again.")

    def _retry(self, number: int) -> Answer:
        journal = Journal(self._config.journal)
        try:
            job = journal.find_job(number)
            if job is None:
                return self._refuse(HTTPStatus.NOT_FOUND, "There is no such job.")
            try:
                journal.retry(number)
            except IllegalTransitionError:
                sentence = f"Job {number} is {job.state}: only refused and failed studies can be run again."
                return self._refuse(HTTPStatus.CONFLICT, sentence)
            audit.append(self._config, journal, "retried", job=number, key=job.key, by="status page")
        finally:
            journal.close()
        logs.event("retried", job=number, key=job.key)
        return Answer.empty(HTTPStatus.SEE_OTHER, {"Location": f"/jobs/{number}"})

    def _look_up(self, number: int) -> Answer:
        with reading(self._config.journal) as look:
            job = look.find_job(number)
            source = look.list_sources([number]).get(number, "")
            file = self._pages.whereabouts.find(source, look)
        if job is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "There is no such job.")
        result = self._config.outbox / job.key / "rtdose.dcm"
        place = file if file is not None and file.is_file() else result
        patient = look_up(place) if place.is_file() else {}
        journal = Journal(self._config.journal)
        try:
            audit.append(self._config, journal, "patient looked up", job=number, key=job.key, by="status page")
        finally:
            journal.close()
        html = self._pages.job(number, patient=patient)
        return Answer.page(html) if html else self._refuse(HTTPStatus.NOT_FOUND, "There is no such job.")

    def _upload(self, body: Body) -> Answer:
        if not self._config.web.max_upload_mb:
            return self._refuse(HTTPStatus.FORBIDDEN, "Uploads are switched off: web.max_upload_mb is 0.")
        fields, content = body.read_file()
        self._require_form(body, fields)
        folder, count = upload.receive(self._config, content)
        journal = Journal(self._config.journal)
        try:
            audit.append(self._config, journal, "uploaded", folder=folder, count=count, by="status page")
        finally:
            journal.close()
        logs.event("uploaded", count=count)
        text = (
            f"{count} files lie in the folder {folder} of the inbox. The study appears among those in hand as soon as "
            "it is complete; what is missing stands under what waits."
        )
        return Answer.page(self._pages.notice("The study was received", text))

    def _refuse(self, status: HTTPStatus, sentence: str) -> Answer:
        return Answer.page(self._pages.notice("Nothing was changed", sentence), status)


def _find_job_action(path: str) -> tuple[int, str] | None:
    match path.split("/")[1:]:
        case ["jobs", number, ("retry" | "patient") as action] if is_number(number):
            return int(number), action
    return None


def is_number(text: str) -> bool:
    """Whether a part of a path can be a job's number."""
    return text.isascii() and text.isdigit() and len(text) < 16
