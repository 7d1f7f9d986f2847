"""What the status server answers to which path."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.outbox.published import open_page
from vmat_rt_service.web.access import Access
from vmat_rt_service.web.answers import HTML, REPORT_POLICY, Answer
from vmat_rt_service.web.changes import Changes, is_number
from vmat_rt_service.web.forms import Body
from vmat_rt_service.web.health import Pulse, examine_health
from vmat_rt_service.web.metrics import format_metrics
from vmat_rt_service.web.page import Pages

_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_KINDS = {".dcm": "application/dicom", ".json": "application/json", ".csv": "text/csv; charset=utf-8"}


@dataclass(frozen=True)
class Asked:
    """A path and the words after its question mark, each once."""

    path: str
    words: Mapping[str, str] = field(default_factory=dict)


class Routes:
    """Path -> answer, for a reader who may see it."""

    def __init__(self, config: ServiceConfig, pulse: Pulse, pages: Pages, access: Access) -> None:
        self._config = config
        self._pulse = pulse
        self._pages = pages
        self._changes = Changes(config, access, pages)

    def answer(self, asked: Asked) -> Answer:
        """Raises sqlite3.Error when the journal cannot be read."""
        match asked.path.split("/")[1:]:
            case [""]:
                return Answer.page(self._pages.status())
            case ["studies"]:
                return Answer.page(self._pages.studies(asked.words))
            case ["upload"]:
                return Answer.page(self._pages.upload())
            case ["healthz"]:
                return self._answer_health()
            case ["metrics"]:
                return Answer.of(format_metrics(self._config, self._pulse), _METRICS)
            case ["jobs", number] if is_number(number):
                html = self._pages.job(int(number))
                return Answer.page(html) if html else self._answer_absent()
            case [("reports" | "refused") as kind, key, name]:
                return self._answer_file(kind, key, name)
            case ["downloads", key, name]:
                return self._answer_download(key, name)
            case _:
                return self._answer_absent()

    def takes(self, path: str) -> bool:
        """Whether a path is there to change something."""
        return self._changes.takes(path)

    def change(self, asked: Asked, body: Body) -> Answer:
        """Change what the path says. Raises sqlite3.Error, OSError."""
        return self._changes.answer(asked.path, body)

    def ask_for_token(self) -> Answer:
        """What a reader without the token gets; it tells nothing of the service."""
        text = "This page needs its token: open it once with ?token=..., or send the header Authorization: Bearer ..."
        answer = Answer.plain(HTTPStatus.UNAUTHORIZED, text)
        return answer.with_headers({"WWW-Authenticate": 'Bearer realm="vmat-rt"'})

    def _answer_health(self) -> Answer:
        health = examine_health(self._config, self._pulse)
        content = json.dumps(health.as_dict(), indent=2, allow_nan=False).encode() + b"\n"
        return Answer.of(content, "application/json", HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE)

    def _answer_file(self, kind: str, key: str, name: str) -> Answer:
        file = open_page(self._config, kind, key, name)
        if file is None:
            return self._answer_absent()
        length = str(os.fstat(file.fileno()).st_size)
        return Answer(HTTPStatus.OK, file, {"Content-Type": HTML, "Content-Length": length}, REPORT_POLICY)

    def _answer_download(self, key: str, name: str) -> Answer:
        file = open_page(self._config, "downloads", key, name)
        if file is None:
            return self._answer_absent()
        headers = {
            "Content-Type": _KINDS.get(os.path.splitext(name)[1], "application/octet-stream"),  # noqa: PTH122
            "Content-Length": str(os.fstat(file.fileno()).st_size),
            "Content-Disposition": f'attachment; filename="{key}-{name}"',
        }
        return Answer(HTTPStatus.OK, file, headers)

    def _answer_absent(self) -> Answer:
        html = self._pages.notice("Not here", "There is no such page; a result may have been moved away since.")
        return Answer.page(html, HTTPStatus.NOT_FOUND)
