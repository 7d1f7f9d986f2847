"""The SQLite file: all or nothing, keyed digests that only it can make, and waiting for each other."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from vmat_rt_service.journal.database import Database


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "deep" / "journal.sqlite")
    database.set_meta("a", "1")
    with pytest.raises(RuntimeError), database.transaction() as db:  # noqa: PT012
        db.execute("UPDATE meta SET value = '2' WHERE name = 'a'")
        raise RuntimeError
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as db:
        db.execute("INSERT INTO transitions (job, old, new, at, why) VALUES (99, '', '', '', '')")
    assert database.meta("a") == "1"
    database.set_meta("a", "3")
    assert database.meta("a") == "3"
    assert database.meta("absent") == ""
    database.close()


def test_digests_know_their_parts_again_and_belong_to_one_journal(tmp_path: Path) -> None:
    one, other = Database(tmp_path / "one.sqlite"), Database(tmp_path / "other.sqlite")
    assert one.digest("a", 1) == Database(tmp_path / "one.sqlite").digest("a", "1")
    assert len({one.digest("a", "b"), one.digest("ab"), one.digest("b", "a"), other.digest("a", "b")}) == 4
    assert len(one.digest("x")) == 32
    assert one.digest("name\udcff")


def test_two_processes_that_write_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Database(path).set_meta("count", "0")
    program = (
        "import sys; from pathlib import Path; from vmat_rt_service.journal.database import Database\n"
        "database = Database(Path(sys.argv[1]))\n"
        "for _ in range(50):\n"
        "    with database.transaction() as db:\n"
        "        (n,) = db.execute(\"SELECT value FROM meta WHERE name = 'count'\").fetchone()\n"
        "        db.execute(\"UPDATE meta SET value = ? WHERE name = 'count'\", (str(int(n) + 1),))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [process.wait(PATIENCE_SECONDS) for process in running] == [0, 0, 0]
    assert Database(path).meta("count") == "150"
