"""What the status server answers to which path."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import BinaryIO

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.outbox.published import open_page
from vmat_rt_service.web.health import Pulse, examine_health
from vmat_rt_service.web.metrics import format_metrics
from vmat_rt_service.web.page import Html, Pages

HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_NOWHERE = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_NOTHING = f"default-src 'none'; {_NOWHERE}"
# A published report draws its own DVH. It runs apart from this origin: no cookie, no other page of the service.
_REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    f"sandbox allow-scripts allow-downloads allow-modals; {_NOWHERE}"
)


@dataclass(frozen=True)
class Answer:
    """Status, headers and body; the sender closes the body."""

    status: HTTPStatus
    body: BinaryIO
    headers: Mapping[str, str] = field(default_factory=dict)
    policy: str = _NOTHING

    @classmethod
    def of(cls, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, policy: str = _NOTHING) -> Answer:
        return cls(status, io.BytesIO(content), {"Content-Type": kind, "Content-Length": str(len(content))}, policy)

    @classmethod
    def plain(cls, status: HTTPStatus, sentence: str) -> Answer:
        return cls.of(f"{sentence}\n".encode(), _TEXT, status)

    @classmethod
    def page(cls, html: Html, status: HTTPStatus = HTTPStatus.OK) -> Answer:
        return cls.of(
            html.text.encode(), HTML, status, f"default-src 'none'; style-src 'nonce-{html.nonce}'; {_NOWHERE}"
        )

    @classmethod
    def empty(cls, status: HTTPStatus, headers: Mapping[str, str]) -> Answer:
        return cls(status, io.BytesIO(), {"Content-Length": "0", **headers})

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        return replace(self, headers={**self.headers, **headers})


class Routes:
    """Path -> answer, for a reader who may see it."""

    def __init__(self, config: ServiceConfig, pulse: Pulse, pages: Pages) -> None:
        self._config = config
        self._pulse = pulse
        self._pages = pages

    def answer(self, path: str) -> Answer:
        """Raises sqlite3.Error when the journal cannot be read."""
        match path.split("/")[1:]:
            case [""]:
                return Answer.page(self._pages.status())
            case ["healthz"]:
                return self._answer_health()
            case ["metrics"]:
                return Answer.of(format_metrics(self._config, self._pulse), _METRICS)
            case ["jobs", number] if number.isascii() and number.isdigit() and len(number) < 16:
                html = self._pages.job(int(number))
                return Answer.page(html) if html else self._answer_absent()
            case [("reports" | "refused") as kind, key, name]:
                return self._answer_file(kind, key, name)
            case _:
                return self._answer_absent()

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
        return Answer(HTTPStatus.OK, file, {"Content-Type": HTML, "Content-Length": length}, _REPORT)

    def _answer_absent(self) -> Answer:
        html = self._pages.notice("Not here", "There is no such page; a result may have been moved away since.")
        return Answer.page(html, HTTPStatus.NOT_FOUND)
