"""What a browser's form sends: a few fields, or a file after them, read as it comes (RFC 7578, RFC 2046 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import parse_qsl

_BLOCK = 1 << 16
_LONGEST_FIELDS = 8_192
_LONGEST_PART_HEAD = 4_096
_MOST_FIELDS = 10
_BOUNDARY = re.compile(r'multipart/form-data;.*?boundary="?([^";]{1,70})"?', re.IGNORECASE | re.DOTALL)
_NAME = re.compile(rb'content-disposition:[^\r\n]*?[; ]name="([^"]{1,100})"', re.IGNORECASE)


class FormError(ValueError):
    """What was sent is no form, or a longer one than ours; the sentence is for people."""


class Stream(Protocol):
    """What gives as many bytes as have come."""

    def read1(self, size: int = -1, /) -> bytes: ...


class Body:
    """The body of a request of stated length. trusted: it came with the token itself, so that it needs no form key."""

    def __init__(self, stream: Stream, length: int, kind: str, trusted: bool = False) -> None:
        self._stream, self._left, self.kind, self.trusted = stream, length, kind, trusted

    def read(self, most: int = _BLOCK) -> bytes:
        """The next bytes; none at the end. Raises FormError where the client left before."""
        if not self._left:
            return b""
        content = self._stream.read1(min(most, self._left))
        if not content:
            raise FormError("The sending ended too soon; send it again.")
        self._left -= len(content)
        return content

    def drain(self, most: int) -> None:
        """Read what nobody needs, up to a bound, so that the client sees the answer."""
        while self._left and most > 0:
            try:
                most -= len(self.read())
            except (FormError, OSError):
                return

    def read_fields(self) -> dict[str, str]:
        """The fields of a small form. Raises FormError."""
        if not self.kind.lower().startswith("application/x-www-form-urlencoded") or self._left > _LONGEST_FIELDS:
            raise FormError("This is no form of this page.")
        content = b""
        while self._left:
            content += self.read()
        try:
            return dict(parse_qsl(content.decode("ascii"), max_num_fields=_MOST_FIELDS))
        except ValueError as error:
            raise FormError("This is no form of this page.") from error

    def read_file(self) -> tuple[dict[str, str], Iterator[bytes]]:
        """The fields before the file, and the file in blocks. Raises FormError, also while the file is read."""
        if self.kind.lower().startswith("application/zip"):
            return {}, iter(self.read, b"")
        found = _BOUNDARY.match(self.kind)
        if found is None:
            raise FormError("Choose a zip file and send it with the form of this page.")
        return _Parts(self, found[1].encode("latin-1", "replace")).open()


class _Parts:
    """The parts of a multipart body, of which the last one that matters is the file."""

    def __init__(self, body: Body, boundary: bytes) -> None:
        self._body, self._end = body, b"\r\n--" + boundary
        self._rest = b"\r\n"  # the first boundary stands at the beginning of a line

    def open(self) -> tuple[dict[str, str], Iterator[bytes]]:
        fields: dict[str, str] = {}
        b"".join(self._read_part(_LONGEST_PART_HEAD))
        for _ in range(_MOST_FIELDS):
            head = self._read_head()
            name = _NAME.search(head)
            if name is None:
                break
            if b"filename=" in head.lower():
                return fields, self._read_part(None)
            content = b"".join(self._read_part(_LONGEST_FIELDS))
            fields[name[1].decode("utf-8", "replace")] = content.decode("utf-8", "replace")
        raise FormError("Choose a zip file first.")

    def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._rest:
            if len(self._rest) > _LONGEST_PART_HEAD or self._rest.startswith(b"--"):
                raise FormError("Choose a zip file first.")
            self._rest += self._body.read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        if len(head) > _LONGEST_PART_HEAD:
            raise FormError("This is no form of this page.")
        return head

    def _read_part(self, most: int | None) -> Iterator[bytes]:
        """The content up to the next boundary, which is taken away with it."""
        size = 0
        while (position := self._rest.find(self._end)) < 0:
            ready = max(0, len(self._rest) - len(self._end))
            if ready:
                block, self._rest = self._rest[:ready], self._rest[ready:]
                size += len(block)
                if most is not None and size > most:
                    raise FormError("This is no form of this page.")
                yield block
            self._rest += self._body.read()
        block, self._rest = self._rest[:position], self._rest[position + len(self._end) :]
        yield block
