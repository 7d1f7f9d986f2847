"""Text of the PDF files that fpdf2 writes, page by page, read from their streams and their fonts' own tables."""

from __future__ import annotations

import re
import zlib

OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
STREAM = re.compile(rb"stream\n(.*)\nendstream", re.DOTALL)
TOKEN = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\) Tj|\[(.*?)\] TJ", re.DOTALL)


def read_pages(pdf: bytes) -> list[str]:
    """The words of each page in the order in which they were written."""
    objects = {int(number): body for number, body in OBJECT.findall(pdf)}
    fonts = {}
    for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", pdf):
        table = re.search(rb"/ToUnicode (\d+) 0 R", objects.get(int(number), b""))
        if table:
            fonts[name] = _read_table(_unpack(objects[int(table[1])]))
    pages = [body for body in objects.values() if re.search(rb"/Type /Page\b", body)]
    contents = (int(re.search(rb"/Contents (\d+)", page)[1]) for page in pages)  # type: ignore[index]
    return [_read_content(_unpack(objects[number]), fonts) for number in contents]


def _unpack(body: bytes) -> bytes:
    found = STREAM.search(body)
    assert found is not None
    return zlib.decompress(found[1]) if b"FlateDecode" in body else found[1]


def _read_table(cmap: bytes) -> dict[int, str]:
    pairs = re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4,})>\n", cmap)
    return {int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs}


def _read_content(content: bytes, fonts: dict[bytes, dict[int, str]]) -> str:
    words, table = [], {}
    for font, plain, several in TOKEN.findall(content):
        if font:
            table = fonts[font]
            continue
        raw = plain or b"".join(re.findall(rb"\(((?:\\.|[^\\()])*)\)", several))
        data = re.sub(
            rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(m[1], m[1]), raw, flags=re.DOTALL
        )
        words.append("".join(table.get((a << 8) | b, "?") for a, b in zip(data[::2], data[1::2], strict=True)))
    return "\n".join(words)
