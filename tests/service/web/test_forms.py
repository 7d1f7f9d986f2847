"""What browsers send, however it is cut into pieces, and what is no form of ours."""

from __future__ import annotations

import io

import pytest

from vmat_rt_service.web.forms import Body, FormError

BOUNDARY = "----WebKitFormBoundaryAbCdEf"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


class Slow(io.BytesIO):
    """Gives so many bytes at a time."""

    step = 1

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self.step, size or 0))


def multipart(*parts: tuple[str, bytes], end: str = "--\r\n") -> bytes:
    joined = b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return joined + f"--{BOUNDARY}{end}".encode()


def field(name: str) -> str:
    return f'Content-Disposition: form-data; name="{name}"'


FILE = 'Content-Disposition: form-data; name="zip"; filename="study.zip"\r\nContent-Type: application/zip'
CONTENT = b"PK\r\n--" + bytes(range(256)) * 700 + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n"


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 16])
def test_a_file_comes_out_as_it_went_in_however_it_is_cut(step: int) -> None:
    sent = multipart((field("form"), b"key"), (field("empty"), b""), (FILE, CONTENT))
    stream = Slow(sent)
    stream.step = step
    fields, blocks = Body(stream, len(sent), KIND).read_file()
    assert fields == {"form": "key", "empty": ""}
    assert b"".join(blocks) == CONTENT


def test_a_zip_sent_as_it_is_needs_no_form() -> None:
    fields, blocks = Body(io.BytesIO(CONTENT), len(CONTENT), "application/zip").read_file()
    assert fields == {}
    assert b"".join(blocks) == CONTENT


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (multipart((field("form"), b"key")), KIND),
        (multipart((field("form"), bytes(100_000)), (FILE, b"x")), KIND),
        (multipart((field("x") + ";" + "y" * 10_000, b"key"), (FILE, b"x")), KIND),
        (multipart(*[(field(f"f{n}"), b"") for n in range(50)], (FILE, b"x")), KIND),
        (b"nothing of the kind" * 1000, KIND),
        (multipart((FILE, b"x")), "multipart/form-data"),
        (multipart((FILE, b"x")), "text/plain"),
    ],
    ids=["no file", "a long field", "a long head", "many fields", "no parts", "no boundary", "another kind"],
)
def test_what_is_no_form_is_said(sent: bytes, kind: str) -> None:
    with pytest.raises(FormError):
        Body(io.BytesIO(sent), len(sent), kind).read_file()


def test_a_file_that_ends_too_soon_is_said() -> None:
    sent = multipart((FILE, CONTENT))
    _, blocks = Body(io.BytesIO(sent[:-50]), len(sent), KIND).read_file()
    with pytest.raises(FormError, match="too soon"):
        b"".join(blocks)


def test_fields_of_a_small_form() -> None:
    sent = b"form=a%20b&other=1"
    assert Body(io.BytesIO(sent), len(sent), "application/x-www-form-urlencoded").read_fields()["form"] == "a b"


@pytest.mark.parametrize("sent", [b"a=" + b"x" * 10_000, b"\xff=1", b"&".join([b"a=1"] * 50)])
def test_a_small_form_is_small(sent: bytes) -> None:
    with pytest.raises(FormError):
        Body(io.BytesIO(sent), len(sent), "application/x-www-form-urlencoded").read_fields()
