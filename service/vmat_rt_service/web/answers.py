"""What is sent back: status, headers, body, and the policy that a browser holds it to."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import BinaryIO

HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_NOWHERE = "frame-ancestors 'none'; base-uri 'none'"
_NOTHING = f"default-src 'none'; {_NOWHERE}; form-action 'none'"
# A published report draws its own DVH. It runs apart from this origin: no cookie, no other page of the service.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    f"sandbox allow-scripts allow-downloads allow-modals; {_NOWHERE}; form-action 'none'"
)


@dataclass(frozen=True)
class Html:
    """A page and the nonce that its only style sheet carries."""

    text: str
    nonce: str


@dataclass(frozen=True)
class Answer:
    """Status, headers and body; the sender closes the body."""

    status: HTTPStatus
    body: BinaryIO
    headers: Mapping[str, str] = field(default_factory=dict)
    policy: str = _NOTHING
    is_sent: bool = False

    @classmethod
    def sent(cls) -> Answer:
        """Nothing more is to be sent."""
        return cls(HTTPStatus.OK, io.BytesIO(), is_sent=True)

    @classmethod
    def of(cls, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, policy: str = _NOTHING) -> Answer:
        return cls(status, io.BytesIO(content), {"Content-Type": kind, "Content-Length": str(len(content))}, policy)

    @classmethod
    def plain(cls, status: HTTPStatus, sentence: str) -> Answer:
        return cls.of(f"{sentence}\n".encode(), _TEXT, status)

    @classmethod
    def page(cls, html: Html, status: HTTPStatus = HTTPStatus.OK) -> Answer:
        policy = f"default-src 'none'; style-src 'nonce-{html.nonce}'; {_NOWHERE}; form-action 'self'"
        return cls.of(html.text.encode(), HTML, status, policy)

    @classmethod
    def empty(cls, status: HTTPStatus, headers: Mapping[str, str]) -> Answer:
        return cls(status, io.BytesIO(), {"Content-Length": "0", **headers})

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        return replace(self, headers={**self.headers, **headers})
