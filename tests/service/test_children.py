"""Children talk in lines, die with their parent, and say how they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.external import REPOSITORY
from tests.patience import PATIENCE_SECONDS, wait_for
from vmat_rt_service.children import Child

ECHO = """
import json, sys
from vmat_rt_service import children

own = children.begin(sys.argv[1:])
channel = children.reply_channel()
for line in sys.stdin:
    message = json.loads(line)
    if message == {"do": "half"}:
        channel.write('{"half')
        channel.flush()
        sys.exit(3)
    children.tell(channel, {"got": message, "own": own})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "echo_child"


@pytest.fixture
def child(module: str) -> Iterator[Child]:
    made = Child(module, ["one", "two"])
    yield made
    made.kill()
    made.close()


def answers(child: Child, count: int) -> list[dict[str, object]]:
    got: list[dict[str, object]] = []
    wait_for(lambda: got.extend(child.read_messages()) or len(got) >= count)
    return got


def test_messages_go_and_come_in_order(child: Child) -> None:
    assert child.read_messages() == []
    sent = [{"number": n, "text": "ü" * n} for n in range(60)]
    for message in sent:
        assert child.send(message)
    assert answers(child, 60) == [{"got": message, "own": ["one", "two"]} for message in sent]
    assert child.is_alive()
    assert child.measure_memory_bytes() == pytest.approx(psutil.Process(child.pid).memory_info().rss, rel=0.2)


def test_a_child_that_is_told_to_finish_ends_by_itself(child: Child) -> None:
    child.send({"last": 1})
    child.finish()
    wait_for(lambda: not child.is_alive())
    assert not child.was_killed
    assert [message["got"] for message in child.read_messages()] == [{"last": 1}]
    assert not child.send({"too": "late"})
    assert child.measure_memory_bytes() == 0


def test_half_a_line_of_a_child_that_died_is_dropped(child: Child) -> None:
    child.send({"whole": 1})
    child.send({"do": "half"})
    wait_for(lambda: not child.is_alive())
    assert [message["got"] for message in child.read_messages()] == [{"whole": 1}]
    assert not child.was_killed


def test_a_killed_child_is_known_as_such(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: not child.is_alive())
    assert child.was_killed


def test_stop_signals_are_for_the_parent(child: Child) -> None:
    child.send({"begun": 1})
    answers(child, 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(child.pid, number)
    child.send({"still": 1})
    assert answers(child, 1)[0]["got"] == {"still": 1}


def test_a_child_dies_with_its_parent(module: str) -> None:
    program = (
        "import os, sys, time\nfrom vmat_rt_service.children import Child\n"
        f"child = Child('{module}', [])\nchild.send({{}})\n"
        "while not child.read_messages():\n    time.sleep(0.01)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert psutil.pid_exists(number)
        parent.kill()
        parent.wait(PATIENCE_SECONDS)
    wait_for(lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
