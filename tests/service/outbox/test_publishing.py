"""A result appears by one rename, never replaces another content's, and is known again by its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmat_rt.errors import VmatError
from vmat_rt_service.files import hash_file
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.outbox.publishing import (
    RECORD,
    WORK_FOLDER,
    Record,
    find_published,
    find_result_folder,
    hash_folder,
    publish,
    read_record,
)

ONE, OTHER = "a1" * 32, "b2" * 32


def finished(outbox: Path, content_hash: str, text: str = "dose", key: str = "case-1") -> tuple[Path, Record]:
    folder = outbox / WORK_FOLDER / content_hash[:4]
    (folder / "sub").mkdir(parents=True)
    (folder / "rtdose.dcm").write_text(text)
    (folder / "sub" / "a.json").write_text("{}")
    return folder, Record(content_hash, key, {"name": "m", "version": "1"}, {"vmat_rt": "0"}, hash_folder(folder), 2.5)


def job(tmp_path: Path, content_hash: str) -> Job:
    journal = Journal(tmp_path / "journal.sqlite")
    received = journal.receive("source", "case-1", "COMPLETE", "complete")
    return journal.admit(received.id, "case-1", {"f" * 64: 1}, content_hash, ["signature"])


def test_a_result_gets_its_name_and_says_what_it_is(tmp_path: Path) -> None:
    folder, record = finished(tmp_path, ONE)
    assert record.files == {
        "rtdose.dcm": hash_file(folder / "rtdose.dcm"),
        "sub/a.json": hash_file(folder / "sub/a.json"),
    }
    assert publish(folder, tmp_path, record) == "case-1"
    assert read_record(tmp_path / "case-1") == record
    assert hash_folder(tmp_path / "case-1") == record.files, "the record is not among its files"
    assert not folder.exists()
    wanted = job(tmp_path, ONE)
    assert find_published(tmp_path, wanted) == record
    assert find_result_folder(tmp_path, wanted) == tmp_path / "case-1"


def test_another_content_of_the_same_name_gets_digits_of_its_hash(tmp_path: Path) -> None:
    publish(*finished(tmp_path, ONE)[:1], tmp_path, record := finished(tmp_path / "x", ONE)[1])
    folder, other = finished(tmp_path, OTHER, "other dose")
    assert publish(folder, tmp_path, other) == "case-1-b2b2b2"
    assert read_record(tmp_path / "case-1") == record
    assert find_result_folder(tmp_path, job(tmp_path, OTHER)) == tmp_path / "case-1-b2b2b2"


def test_the_same_content_twice_is_one_result(tmp_path: Path) -> None:
    publish(*finished(tmp_path, ONE, "first")[:1], tmp_path, finished(tmp_path / "x", ONE)[1])
    folder, record = finished(tmp_path, ONE, "second")
    assert publish(folder, tmp_path, record) == "case-1"
    assert (tmp_path / "case-1" / "rtdose.dcm").read_text() == "first"
    assert not (tmp_path / "case-1-a1a1a1").exists()


def test_where_both_names_are_taken_nothing_is_replaced(tmp_path: Path) -> None:
    for name in ("case-1", "case-1-a1a1a1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "theirs.txt").write_text("x")
    folder, record = finished(tmp_path, ONE)
    with pytest.raises(VmatError, match="other results under the name case-1"):
        publish(folder, tmp_path, record)
    assert find_published(tmp_path, job(tmp_path, ONE)) is None
    assert find_result_folder(tmp_path, job(tmp_path, ONE)) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 1}', '{"schema_version": 1, "x": 2}', "\xff"])
def test_a_record_that_is_not_ours_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "absent") is None
