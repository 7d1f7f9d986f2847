"""Inputs that may go: by descriptors, within the inbox only. What is deleted and archived at all: test_staging.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmat_rt_service.files import hash_file
from vmat_rt_service.intake import disposal
from vmat_rt_service.intake.disposal import dispose


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "a").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept.dcm").write_bytes(b"kept")
    return tmp_path / "inbox"


def known(inbox: Path) -> set[str]:
    return {hash_file(inbox.parent / "outside" / "kept.dcm")}


@pytest.mark.parametrize("archived", [False, True], ids=["deleted", "archived"])
@pytest.mark.parametrize("way", ["file", "folder", "dots", "elsewhere"])
def test_nothing_outside_of_the_inbox_is_touched(inbox: Path, way: str, archived: bool) -> None:
    outside = inbox.parent / "outside"
    path = inbox / "a" / "kept.dcm"
    if way == "file":
        path.symlink_to(outside / "kept.dcm")
    elif way == "folder":
        (inbox / "b").symlink_to(outside)
        path = inbox / "b" / "kept.dcm"
    elif way == "dots":
        path = inbox / "a" / ".." / ".." / "outside" / "kept.dcm"
    else:
        path = outside / "kept.dcm"
    archive = inbox.parent / "archive" / "case-1" if archived else None
    assert dispose([(str(path), "0.dcm")], known(inbox), archive, inbox) == 1
    assert (outside / "kept.dcm").read_bytes() == b"kept"
    assert archive is None or not list(archive.iterdir())


def test_a_file_of_the_inbox_goes(inbox: Path) -> None:
    path = inbox / "a" / "x ü.dcm"
    path.write_bytes(b"kept")
    assert dispose([(str(path), "0.dcm")], known(inbox), inbox.parent / "archive" / "case-1", inbox) == 0
    assert not path.exists()
    assert (inbox.parent / "archive" / "case-1" / "0.dcm").read_bytes() == b"kept"


def test_a_pipe_in_its_place_neither_blocks_nor_goes(inbox: Path) -> None:
    os.mkfifo(inbox / "a" / "kept.dcm")
    assert dispose([(str(inbox / "a" / "kept.dcm"), "0.dcm")], known(inbox), None, inbox) == 1
    assert (inbox / "a" / "kept.dcm").exists()


def test_a_file_that_was_exchanged_after_it_was_read_stays(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = inbox / "a" / "x.dcm"
    path.write_bytes(b"kept")
    unlink = disposal._unlink

    def exchange_first(found: disposal._Input) -> bool:
        path.unlink()
        path.write_bytes(b"another, unknown content")
        return unlink(found)

    monkeypatch.setattr(disposal, "_unlink", exchange_first)
    assert dispose([(str(path), "0.dcm")], known(inbox), None, inbox) == 1
    assert path.read_bytes() == b"another, unknown content"
