"""The same acts on a disk and in an object store: whole or absent, hidden while written, refused when there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from vmat_rt.cohort.place import Place
from vmat_rt.errors import ConfigError


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "disk":
        yield Place.at(tmp_path / "c")
        return
    yield Place.at(f"memory://{tmp_path.name}/c/")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def test_what_is_written_is_read_and_written_anew(place: Place) -> None:
    place.write_bytes("deep/a.json", b"one")
    assert place.exists("deep/a.json")
    assert not place.exists("deep/b.json")
    place.write_bytes("deep/a.json", b"two")
    assert place.read_bytes("deep/a.json") == place.child("deep").read_bytes("a.json") == b"two"
    with pytest.raises(FileNotFoundError):
        place.read_bytes("deep/b.json")


def test_only_folders_with_the_mark_count_and_none_that_is_being_written(place: Place) -> None:
    for name in ("b", "a", ".hidden"):
        place.child(name).write_bytes("mark", b"")
    place.child("c").write_bytes("other", b"")
    assert place.find_folders_with("mark") == ("a", "b")


def test_a_published_folder_appears_whole(place: Place) -> None:
    place.write_bytes("beside", b"")
    with place.published("case", "mark", replace=False) as folder:
        folder.write_bytes("data", b"1")
        assert place.find_folders_with("mark") == ()
        folder.write_bytes("mark", b"")
    assert place.find_folders_with("mark") == ("case",)
    assert place.read_bytes("case/data") == b"1"


def test_a_folder_that_is_there_is_replaced_only_when_asked(place: Place) -> None:
    place.write_bytes("beside", b"")

    def publish(content: bytes, replace: bool) -> None:
        with place.published("case", "mark", replace) as folder:
            folder.write_bytes("data", content)
            folder.write_bytes("mark", b"")

    publish(b"1", replace=False)
    with pytest.raises(FileExistsError):
        publish(b"2", replace=False)
    assert place.read_bytes("case/data") == b"1"
    publish(b"3", replace=True)
    assert place.read_bytes("case/data") == b"3"


def test_a_failure_leaves_nothing(place: Place) -> None:
    place.write_bytes("beside", b"")
    with pytest.raises(RuntimeError), place.published("case", "mark", replace=False) as folder:  # noqa: PT012
        folder.write_bytes("data", b"1")
        raise RuntimeError
    assert not place.exists("case")
    assert not place.exists("case/data")


def test_a_url_that_nothing_opens_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        Place.at("nonsense://bucket/cohort")
