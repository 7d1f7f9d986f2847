"""Small files of our own are whole and sorted, and hashes are those of hashlib."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from vmat_rt_service.files import folder_below, hash_file, open_regular, write_json, write_private


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_the_hash_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    content = bytes(n % 251 for n in range(size))
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hash_file(str(tmp_path / "a")) == hashlib.sha256(content).hexdigest()


def test_a_document_comes_back_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None], "a": "ü"})
    write_json(tmp_path / "b.json", {"a": "ü", "b": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "ü", "b": [1, None]}
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        hash_file(tmp_path / "pipe")


def test_a_link_is_followed_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"1"
    with pytest.raises(OSError, match="link"):
        open_regular(tmp_path / "link", follow=False)


@pytest.mark.parametrize("parts", [("link",), ("a", "link"), ("..",), ("a", "..", ".."), ("",)])
def test_no_way_leads_out_of_a_folder(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    for place in ("root/link", "root/a/link"):
        (tmp_path / place).symlink_to(tmp_path)
    with pytest.raises(OSError), folder_below(tmp_path / "root", parts):  # noqa: PT011
        pass
    with folder_below(tmp_path / "root", ("a",)) as folder:
        assert os.fstat(folder).st_ino == (tmp_path / "root" / "a").stat().st_ino


def test_a_private_file_is_its_owners_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "key", "secret")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
