"""What a scan sees."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vmat_rt_service.intake import inbox as inboxes
from vmat_rt_service.intake.inbox import Inbox, on_network


def names(inbox: Inbox, now: float) -> set[str]:
    return {Path(path).name for path in inbox.stable(now)}


def test_a_file_is_stable_after_its_time_and_each_change_begins_it_anew(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, 3.0)
    file = tmp_path / "a.dcm"
    file.write_bytes(b"1")
    assert inbox.scan(0.0)
    inbox.scan(2.9)
    assert names(inbox, 2.9) == set()
    assert not inbox.scan(3.0)
    assert names(inbox, 3.0) == {"a.dcm"}
    file.write_bytes(b"12")
    assert inbox.scan(4.0)
    assert names(inbox, 6.0) == set()
    assert names(inbox, 7.0) == {"a.dcm"}


@pytest.mark.parametrize("shared", [False, True], ids=["on a disk", "on a share"])
def test_another_file_of_the_same_size_and_time_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr(inboxes, "on_network", lambda _: shared)
    inbox = Inbox(tmp_path, 0.0)
    file = tmp_path / "a.dcm"
    for content in (b"1", b"2"):
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))
        assert inbox.scan(0.0)
    assert not inbox.scan(0.0)
    (version,) = inbox.stable(0.0).values()
    assert (version.identity == (0, 0)) == shared
    assert version.is_that_of(file.stat())


def test_a_jump_of_the_clock_decides_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, 3.0)
    file = tmp_path / "a.dcm"
    file.write_bytes(b"1")
    os.utime(file, (4e9, 4e9))  # made in the year 2096
    inbox.scan(0.0)
    assert names(inbox, 2.0) == set()
    inbox.scan(3.0)
    assert names(inbox, 3.0) == {"a.dcm"}
    os.utime(file, (1, 1))  # the same size, an older time: another content
    assert inbox.scan(4.0)
    assert names(inbox, 5.0) == set()


def test_what_is_not_yet_or_never_a_file_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.part", "b.TMP", "c.filepart", ".hidden", "d~", "e.dcm"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "f.dcm").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "broken.dcm").symlink_to(tmp_path / "nowhere")
    inbox = Inbox(tmp_path, 0.0)
    inbox.scan(0.0)
    assert names(inbox, 0.0) == {"e.dcm"}


def test_loops_end_and_each_file_comes_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b" / "self").symlink_to(tmp_path / "a" / "b" / "self")
    (tmp_path / "a" / "x.dcm").write_bytes(b"1")
    (tmp_path / "link.dcm").symlink_to(tmp_path / "a" / "x.dcm")
    inbox = Inbox(tmp_path, 0.0)
    inbox.scan(0.0)
    assert len(inbox.stable(0.0)) == 1


def test_our_own_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "x.dcm").write_bytes(b"1")
    inbox = Inbox(tmp_path, 0.0, (tmp_path / "outbox",))
    inbox.scan(0.0)
    assert len(inbox) == 0


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff ..\xe4.dcm", "wb") as stream:  # noqa: PTH123
        stream.write(b"1")
    inbox = Inbox(tmp_path, 0.0)
    inbox.scan(0.0)
    (path,) = inbox.stable(0.0)
    with open(path, "rb") as stream:  # noqa: PTH123
        assert stream.read() == b"1"


def test_a_scan_of_ten_thousand_files_is_quick(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for number in range(1000):
            (tmp_path / str(folder) / f"{number}.txt").touch()
    inbox = Inbox(tmp_path, 0.0)
    begun = time.process_time()
    inbox.scan(0.0)
    assert len(inbox) == 10_000
    assert time.process_time() - begun < 1.0


def test_a_local_folder_is_not_on_the_network(tmp_path: Path) -> None:
    assert not on_network(tmp_path)
