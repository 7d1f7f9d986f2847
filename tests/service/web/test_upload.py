"""Zips that a browser sends: unpacked whole into a new folder of the inbox, or nothing of them remains."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.pages import configured
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.web import upload
from vmat_rt_service.web.upload import MOST_FILES, UploadError, receive


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    made = configured(tmp_path, web={"max_upload_mb": 1})
    made.state.mkdir(parents=True)
    return made


def blocks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + 1000] for start in range(0, len(content), 1000))


def zipped(entries: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def left(config: ServiceConfig) -> list[Path]:
    return [path for path in config.inbox.rglob("*") if path.name != ".uploading"]


def test_a_study_lies_in_a_new_folder_under_names_of_ours(config: ServiceConfig) -> None:
    sent = {"Doe^John/CT 1.dcm": b"one", "Doe^John/sub/": b"", "Doe^John/sub/RS.dcm": b"two"}
    folder, count = receive(config, blocks(zipped(sent)))
    assert count == 2
    files = sorted((config.inbox / folder).iterdir())
    assert [path.read_bytes() for path in files] == [b"one", b"two"]
    assert [path.name for path in files] == ["0001.dcm", "0002.dcm"]
    assert {path.name for path in left(config)} == {folder, "0001.dcm", "0002.dcm"}


@pytest.mark.parametrize(
    "name", ["../escape.dcm", "/etc/escape.dcm", "a/../../escape.dcm", "..\\escape.dcm", "C:\\e.dcm"]
)
def test_no_name_leads_out_of_the_folder(config: ServiceConfig, tmp_path: Path, name: str) -> None:
    folder, _ = receive(config, blocks(zipped({name: b"x"})))
    assert [path.name for path in (config.inbox / folder).iterdir()] == ["0001.dcm"]
    assert not list(tmp_path.parent.rglob("escape*"))


def link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return stream.getvalue()


def forged_size() -> bytes:
    """Says of 8 MB of zeros that they are one byte, in both places where a zip says it."""
    content = zipped({"a": bytes(8_000_000)})
    size = (8_000_000).to_bytes(4, "little")
    return content.replace(size, (1).to_bytes(4, "little"))


BAD = {
    "no zip": b"this is no zip" * 100,
    "empty": zipped({}),
    "only a folder": zipped({"a/": b""}),
    "cut off": zipped({"a": bytes(range(256)) * 100}, zipfile.ZIP_STORED)[:-400],
    "damaged": zipped({"a": bytes(1000)}, zipfile.ZIP_STORED).replace(bytes(500), b"\1" * 500, 1),
    "too large": zipped({"a": bytes(range(256)) * 8000}, zipfile.ZIP_STORED),
    "a bomb": zipped({"a": bytes(50_000_000)}),
    "a bomb in parts": zipped({str(n): bytes(500_000) for n in range(20)}),
    "a bomb that lies": forged_size(),
    "too many files": zipped({str(n): b"" for n in range(MOST_FILES + 1)}, zipfile.ZIP_STORED),
    "a link": link(),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_zip_is_refused_in_a_sentence_and_nothing_remains(config: ServiceConfig, content: bytes) -> None:
    with pytest.raises(UploadError) as told:
        receive(config, blocks(content))
    assert str(told.value).endswith(".")
    assert left(config) == []


def test_a_list_of_a_million_files_is_not_read(config: ServiceConfig) -> None:
    """Built by hand: 46 bytes a file on the wire, some hundreds in memory."""
    entry = b"PK\1\2" + bytes(42)
    directory = entry * 200_000
    end = b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff" + len(directory).to_bytes(4, "little") + bytes(6)
    roomy = config.model_copy(update={"web": config.web.model_copy(update={"max_upload_mb": 100})})
    content = directory + end
    tracemalloc.start()
    with pytest.raises(UploadError, match="more than"):
        receive(roomy, iter([content]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6


def test_a_full_disk_refuses_before_anything_is_written(config: ServiceConfig) -> None:
    full = config.model_copy(update={"min_free_gb": 1e9})
    with pytest.raises(UploadError, match="no room"):
        receive(full, blocks(zipped({"a": b"x"})))
    assert left(config) == []


def test_one_at_a_time(config: ServiceConfig) -> None:
    def content() -> Iterator[bytes]:
        with pytest.raises(UploadError, match="Another"):
            receive(config, iter([b"x"]))
        yield zipped({"a": b"x"})

    assert receive(config, content())[1] == 1
    assert upload.receive(config, blocks(zipped({"a": b"y"})))[1] == 1
