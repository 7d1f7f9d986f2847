"""One holder at a time, among processes, and free as soon as the last holder is dead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from vmat_rt.errors import ConfigError
from vmat_rt_service.lock import Lock, turn

HOLDER = """
import sys
from pathlib import Path
from vmat_rt_service.lock import Lock
Lock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_kept_out_until_the_holder_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    with holder(path) as process:
        lock = Lock(path)
        with pytest.raises(ConfigError, match="another service already works on"):
            lock.acquire()
        assert lock.descriptor == -1, "what could not be had is not held open"
        process.kill()
        process.wait(PATIENCE_SECONDS)
        lock.acquire()
        lock.release()
    assert path.exists()


def test_patience_waits_for_the_holder_to_end(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as process:
        assert process.stdin is not None
        process.stdin.close()
        lock = Lock(tmp_path / "lock")
        lock.acquire(patience_seconds=PATIENCE_SECONDS)
        lock.release()


def test_a_child_that_inherits_the_descriptor_holds_the_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)) as child:
        lock.release()
        with pytest.raises(ConfigError):
            Lock(tmp_path / "lock").acquire()
        child.kill()
    Lock(tmp_path / "lock").acquire()


def test_turns_are_taken_one_after_the_other(tmp_path: Path) -> None:
    """Eight processes read a number, wait, and write it one larger: none is lost."""
    program = (
        "import sys, time; from pathlib import Path; from vmat_rt_service.lock import turn\n"
        "folder = Path(sys.argv[1])\n"
        "with turn(folder / 'turn'):\n"
        "    number = int((folder / 'number').read_text()); time.sleep(0.02)\n"
        "    (folder / 'number').write_text(str(number + 1))\n"
    )
    (tmp_path / "number").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(8)]
    assert [process.wait(PATIENCE_SECONDS) for process in running] == [0] * 8
    assert (tmp_path / "number").read_text() == "8"
    with turn(tmp_path / "turn"):
        pass
