"""What happens when processes die, meet, or read what is no longer whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml
import zarr

from tests.cohort.cases import SETTINGS, pelvis, record_of, small_cohort
from tests.external import REPOSITORY
from tests.patience import PATIENCE_SECONDS, wait_for
from vmat_rt.cohort.arrays import write_arrays
from vmat_rt.cohort.store import HEAD, RECORD, Cohort
from vmat_rt.errors import ConfigError, InputError


def folder_of(cohort: Path, key: str = "c0001") -> Path:
    return cohort / "cases" / f"{key}.zarr"


def test_what_is_no_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a cohort: it has no cohort\.yaml"):
        Cohort.open(tmp_path)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Cohort.open("gopher://nowhere/cohort")
    assert not Cohort.exists(tmp_path)


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [", "schema_version: 1\nname: x\n", "schema_version: x\n"])
def test_a_damaged_head_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / HEAD).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cohort\.yaml"):
        Cohort.open(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    small_cohort(tmp_path)
    head = yaml.safe_load((tmp_path / HEAD).read_text())
    (tmp_path / HEAD).write_text(yaml.safe_dump({**head, "schema_version": 2, "more": 1}))
    with pytest.raises(ConfigError, match="written by a newer vmat-rt \\(schema 2, this one reads up to 1\\)"):
        Cohort.open(tmp_path)


def test_a_cohort_is_not_made_twice(tmp_path: Path) -> None:
    Cohort.create(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="is a cohort already"):
        Cohort.create(tmp_path, SETTINGS)


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_a_key_is_replaced_only_when_asked(tmp_path: Path, place: str) -> None:
    uri = str(tmp_path / "c") if place == "disk" else f"memory://{tmp_path.name}/c"
    cohort = small_cohort(uri)
    first, other = cohort.record("c0001"), pelvis(shift_mm=5.0)
    with pytest.raises(ConfigError, match="has a case c0001 already"):
        cohort.add(other, record_of(other))
    assert cohort.record("c0001") == first
    second = cohort.add(other, record_of(other), replace=True)
    assert second.content_sha256 != first.content_sha256
    assert cohort.record("c0001") == second
    cohort.reindex()
    assert cohort.check() == ()
    if place == "memory":
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.mark.parametrize("read", [Cohort.record, Cohort.read, Cohort.arrays])
def test_a_case_that_is_not_there_is_named(tmp_path: Path, read: Callable[[Cohort, str], object]) -> None:
    with pytest.raises(ConfigError, match="has no case c0009"):
        read(small_cohort(tmp_path), "c0009")


def largest(folder: Path) -> Path:
    return max((path for path in (folder / "c").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("fault", [cut, flip, empty, Path.unlink])
@pytest.mark.parametrize("array", ["ct", "structures", "dose"])
@pytest.mark.parametrize(
    "read",
    [lambda cohort: cohort.read("c0002"), lambda cohort: cohort.read_patch("c0002", (0, 0, 0), (24, 40, 44))],
    ids=["whole", "patch"],
)
def test_a_damaged_chunk_is_noticed_and_named(
    tmp_path: Path, array: str, fault: Callable[[Path], None], read: Callable[[Cohort], object]
) -> None:
    cohort = small_cohort(tmp_path, ("c0001", "c0002"))
    cohort.reindex()
    fault(largest(folder_of(tmp_path, "c0002") / array))
    with pytest.raises(InputError, match=f"CASE_DAMAGED: Case c0002 of the cohort: the array {array} cannot be"):
        read(cohort)
    problems = cohort.check()
    assert [problem.code for problem in problems] == ["CASE_DAMAGED"]
    assert "c0002" in problems[0].message
    cohort.read("c0001")


@pytest.mark.parametrize("name", ["zarr.json", "ct/zarr.json", RECORD])
@pytest.mark.parametrize("fault", [cut, empty])
def test_a_damaged_description_is_noticed_and_named(tmp_path: Path, name: str, fault: Callable[[Path], None]) -> None:
    cohort = small_cohort(tmp_path)
    fault(folder_of(tmp_path) / name)
    with pytest.raises(InputError, match="CASE_DAMAGED: Case c0001"):
        cohort.read("c0001")


def test_values_that_were_changed_are_named(tmp_path: Path) -> None:
    """By someone who knows zarr: every checksum of a chunk is right, the content is not."""
    cohort = small_cohort(tmp_path)
    cohort.reindex()
    array = zarr.open_array(str(folder_of(tmp_path)), path="dose", mode="r+")
    array[3, 4, 5] = 7
    with pytest.raises(InputError, match="CASE_CHANGED: Case c0001 of the cohort is not what was written: dose"):
        cohort.read("c0001")
    assert [problem.code for problem in cohort.check()] == ["CASE_CHANGED"]


def test_a_record_that_was_changed_is_named(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path)
    cohort.reindex()
    path = folder_of(tmp_path) / RECORD
    path.write_text(path.read_text().replace('"fractions": 28', '"fractions": 20'))
    assert [str(problem) for problem in cohort.check()] == [
        "CASE_CHANGED: Case c0001 of the cohort is not what was written: record. "
        "Restore its folder from a copy, or add it again."
    ]


def test_the_list_in_the_head_is_compared(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path, ("c0001", "c0002"))
    cohort.reindex()
    folder_of(tmp_path, "c0002").rename(tmp_path / "elsewhere")
    case = pelvis()
    cohort.add(case, record_of(case, "c0003"))
    cohort.add(pelvis(shift_mm=3.0), record_of(case), replace=True)
    found = [problem.message for problem in cohort.check()]
    assert found == [
        "Case c0001 is not the one that cohort.yaml lists.",
        "Case c0003 is not listed in cohort.yaml.",
        "Case c0002 is listed in cohort.yaml but absent.",
    ]


def test_a_case_under_another_name_is_not_that_case(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path)
    folder_of(tmp_path).rename(folder_of(tmp_path, "c0005"))
    assert "CASE_CHANGED" in {problem.code for problem in cohort.check()}


_ENDLESS = """
import itertools, sys
from tests.cohort.cases import pelvis, record_of
from vmat_rt.cohort.store import Cohort
cohort, case = Cohort.open(sys.argv[1]), pelvis()
for i in itertools.count():
    cohort.add(case, record_of(case, f"k{i:04d}"))
"""


def test_a_killed_add_leaves_nothing_that_counts(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path, SETTINGS)
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], cwd=REPOSITORY)
    # Killed while a case is half written, once one is whole.
    wait_for(lambda: cohort.keys() and any((tmp_path / "cases").glob(".*/structures/c")), process=process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    keys = cohort.keys()
    assert keys == tuple(f"k{i:04d}" for i in range(len(keys)))
    cohort.reindex()
    assert cohort.check() == ()
    case, after = pelvis(), f"k{len(keys):04d}"
    cohort.add(case, record_of(case, after))
    assert cohort.keys() == (*keys, after)


def test_an_add_that_fails_in_an_object_store_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = Cohort.create(f"memory://{tmp_path.name}/c", SETTINGS)

    def broken(*args: object) -> None:
        write_arrays(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    case = pelvis()
    monkeypatch.setattr("vmat_rt.cohort.store.write_arrays", broken)
    with pytest.raises(KeyboardInterrupt):
        cohort.add(case, record_of(case))
    assert cohort.keys() == ()
    memory = fsspec.filesystem("memory")
    assert [path.rpartition("/")[2] for path in memory.find(f"/{tmp_path.name}")] == [HEAD]
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_arrays_without_a_record_do_not_count(tmp_path: Path) -> None:
    """What a kill leaves in an object store, where nothing can be renamed; the next add clears it away."""
    cohort = small_cohort(f"memory://{tmp_path.name}/c")
    memory = fsspec.filesystem("memory")
    memory.rm_file(f"/{tmp_path.name}/c/cases/c0001.zarr/{RECORD}")
    memory.pipe_file(f"/{tmp_path.name}/c/cases/c0001.zarr/rubbish", b"x")
    assert cohort.keys() == ()
    with pytest.raises(ConfigError, match="has no case c0001"):
        cohort.arrays("c0001")
    case = pelvis()
    cohort.add(case, record_of(case))
    assert not memory.exists(f"/{tmp_path.name}/c/cases/c0001.zarr/rubbish")
    cohort.reindex()
    assert cohort.check() == ()
    memory.rm(f"/{tmp_path.name}", recursive=True)


def add(uri: str, keys: tuple[str, ...]) -> list[str]:
    """Which of the keys this process could add."""
    cohort, case, won = Cohort.open(uri), pelvis(), []
    for key in keys:
        try:
            cohort.add(case, record_of(case, key))
            won.append(key)
        except ConfigError:
            pass
    return won


def test_several_processes_add_at_once(tmp_path: Path) -> None:
    """Each its own keys, and all of them the same five: of these one process wins each."""
    cohort = Cohort.create(tmp_path, SETTINGS)
    shared = tuple(f"s{i}" for i in range(5))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(add, str(tmp_path), (f"own{i}", *shared)) for i in range(3)]
        won = [key for job in jobs for key in job.result()]
    assert sorted(won) == sorted([*shared, "own0", "own1", "own2"])
    assert cohort.keys() == tuple(sorted(won))
    cohort.reindex()
    assert cohort.check() == ()
    assert not list((tmp_path / "cases").glob(".*"))


def test_what_a_fork_inherits_still_reads(tmp_path: Path) -> None:
    """Data loaders fork after the parent has read; zarr's event loop must not hang in the child."""
    cohort = small_cohort(tmp_path)
    expected = cohort.read("c0001").ct.array.sum()
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert pool.submit(total, str(tmp_path)).result(timeout=PATIENCE_SECONDS) == expected


def total(uri: str) -> np.float32:
    return np.float32(Cohort.open(uri).read("c0001").ct.array.sum())


def test_reindexing_keeps_the_head(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path)
    listed = cohort.reindex()
    head = yaml.safe_load((tmp_path / HEAD).read_text())
    assert head.pop("cases") == listed
    assert head == SETTINGS.model_dump(mode="json")
    assert not list(tmp_path.glob(".cohort*"))
