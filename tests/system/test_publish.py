"""Results appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from vmat_rt.errors import InputError
from vmat_rt.system.publish import published_folder


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_folder_appears_under_its_name(tmp_path: Path) -> None:
    with published_folder(tmp_path / "case") as folder:
        (folder / "report.json").write_text("{}")
        assert _names(tmp_path) == {folder.name}
        assert folder.name.startswith(".")
    assert _names(tmp_path) == {"case"}
    assert (tmp_path / "case" / "report.json").read_text() == "{}"


def test_a_failure_leaves_nothing_and_keeps_the_older_result(tmp_path: Path) -> None:
    with published_folder(tmp_path / "case") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), published_folder(tmp_path / "case") as folder:
        (folder / "a").write_text(str(1 / 0))
    assert _names(tmp_path) == {"case"}
    assert (tmp_path / "case" / "a").read_text() == "old"


def test_a_rerun_replaces_the_whole_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with published_folder(tmp_path / "case") as folder:
            (folder / name).write_text(name)
    assert _names(tmp_path / "case") == {"second"}


def test_a_full_disk_is_named_and_nothing_partial_remains(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught, published_folder(tmp_path / "case"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.problems[0].code == "DISK_FULL"
    assert _names(tmp_path) == set()


def test_a_really_full_disk(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small tmpfs can only be mounted with the right to do so")
    try:
        with pytest.raises(InputError) as caught, published_folder(mount / "case") as folder:
            (folder / "dose").write_bytes(b"x" * 1_000_000)
        assert caught.value.problems[0].code == "DISK_FULL"
        assert _names(mount) == set()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError) as caught, published_folder(tmp_path / "file" / "case"):
        pass
    assert caught.value.problems[0].code == "OUTPUT_NOT_WRITABLE"
