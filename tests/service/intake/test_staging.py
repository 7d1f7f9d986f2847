"""A study's own copy: whole or absent, hashed as copied, once per content; and inputs that may go."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vmat_rt_service.intake.disposal import dispose
from vmat_rt_service.intake.inbox import version_of
from vmat_rt_service.intake.staging import ChangedError, Source, hash_content, stage, sweep


def source(path: Path, name: str) -> Source:
    status = path.stat()
    return Source(str(path), name, version_of(status))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    paths = [folder / "Anna 1.dcm", folder / "Anna 2.dcm"]
    paths[0].write_bytes(b"first" * 300_000)  # more than one block
    paths[1].write_bytes(b"second")
    return paths


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_copy_is_named_by_its_content_and_hashed(tmp_path: Path, files: list[Path]) -> None:
    staged, folder = stage([source(files[0], "0"), source(files[1], "1")], tmp_path / "staging")
    assert staged.files == {sha(path.read_bytes()): path.stat().st_size for path in files}
    assert staged.content_hash == hash_content(staged.files) == folder.name
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "0": files[0].read_bytes(),
        "1": files[1].read_bytes(),
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_order_and_the_names_of_files_do_not_matter(tmp_path: Path, files: list[Path]) -> None:
    first, folder = stage([source(files[0], "0"), source(files[1], "1")], tmp_path / "staging")
    again, same = stage([source(files[1], "x"), source(files[0], "y")], tmp_path / "staging")
    assert (again.content_hash, same) == (first.content_hash, folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_content_that_comes_twice_is_copied_once(tmp_path: Path, files: list[Path]) -> None:
    files[1].write_bytes(files[0].read_bytes())
    staged, folder = stage([source(files[0], "0"), source(files[1], "1")], tmp_path / "staging")
    assert len(staged.files) == len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("change", ["longer", "touched", "gone", "pipe", "link", "exchanged"])
def test_a_file_that_changed_stages_nothing(tmp_path: Path, files: list[Path], change: str) -> None:
    sources = [source(files[0], "0"), source(files[1], "1")]
    if change == "longer":
        files[1].write_bytes(b"second!")
    elif change == "touched":
        os.utime(files[1], ns=(1, 1))
    else:
        status = files[1].stat()
        files[1].rename(tmp_path / "aside")
        if change == "pipe":
            os.mkfifo(files[1])
        elif change == "link":
            (tmp_path / "secret").write_bytes(b"SECRET")
            os.utime(tmp_path / "secret", ns=(1, status.st_mtime_ns))
            files[1].symlink_to(tmp_path / "secret")
        elif change == "exchanged":
            files[1].write_bytes(b"SECOND")
            os.utime(files[1], ns=(1, status.st_mtime_ns))
    with pytest.raises(OSError if change in {"gone", "pipe"} else ChangedError):
        stage(sources, tmp_path / "staging")
    assert list((tmp_path / "staging").iterdir()) == []


def test_only_what_is_known_may_be_deleted(tmp_path: Path, files: list[Path]) -> None:
    dispose([(str(files[0]), "0"), (str(files[1]), "1")], {sha(b"second")}, None)
    assert [path.exists() for path in files] == [True, False]


def test_what_is_archived_lies_there_under_neutral_names_first(tmp_path: Path, files: list[Path]) -> None:
    known = {sha(path.read_bytes()) for path in files}
    contents = [path.read_bytes() for path in files]
    dispose([(str(files[0]), "0"), (str(files[1]), "1")], known, tmp_path / "archive")
    assert [path.exists() for path in files] == [False, False]
    assert [(tmp_path / "archive" / name).read_bytes() for name in ("0", "1")] == contents
    files[0].write_bytes(contents[0])
    files[1].write_bytes(b"a later content")
    dispose([(str(path), "x") for path in files], {*known, sha(b"a later content")}, tmp_path / "archive")
    assert [path.exists() for path in files] == [False, True], "what the archive lacks stays"


def test_a_sweep_leaves_what_is_kept(tmp_path: Path, files: list[Path]) -> None:
    for name in ("a", "b"):
        (tmp_path / "s" / name).mkdir(parents=True)
    (tmp_path / "s" / "c").write_text("")
    (tmp_path / "s" / "d").symlink_to(files[0].parent)
    assert sweep(tmp_path / "s", ["b"]) == 3
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["b"]
    assert files[0].exists(), "a link is removed, not what it leads to"
    assert sweep(tmp_path / "absent") == 0
