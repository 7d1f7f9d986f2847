"""Step lines: on a terminal only, each step with its seconds, gone before a refusal is said."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vmat_rt.commands.progress import StepLines
from vmat_rt.system.steps import announced, listening

PROSTATE = Path(__file__).resolve().parents[2] / "sample_data" / "prostate_simulated"


def run_on_a_terminal(*arguments: object) -> str:
    """What a person sees of stderr when it is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "vmat_rt.cli", *(str(argument) for argument in arguments)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    child.wait()
    return seen.decode()


@pytest.fixture(scope="module")
def dvh_arguments() -> tuple[object, ...]:
    return ("dvh", PROSTATE, "--dose", PROSTATE / "RTDOSE.dcm", "--metrics", "Dmean")


def test_a_terminal_sees_each_step_and_its_seconds(dvh_arguments: tuple[object, ...]) -> None:
    seen = run_on_a_terminal(*dvh_arguments)
    assert [line.split("\x1b[K")[-1].split("  ")[0] for line in seen.split("\r\n") if " s" in line] == [
        "read",
        "dvh and goals",
        "look at the anatomy",
    ]


def test_quiet_says_nothing(dvh_arguments: tuple[object, ...]) -> None:
    assert run_on_a_terminal(*dvh_arguments, "--quiet") == ""


def test_a_pipe_sees_no_step_lines(dvh_arguments: tuple[object, ...]) -> None:
    command = [sys.executable, "-m", "vmat_rt.cli", *map(str, dvh_arguments)]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_a_refusal_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    seen = run_on_a_terminal("predict", tmp_path, "--out", tmp_path / "out")
    assert seen.split("\x1b[K")[-1].startswith("Refused: ")


def test_the_running_step_counts_its_seconds() -> None:
    stream = io.StringIO()
    lines = StepLines(stream)
    with listening(lines), announced("gamma"):
        time.sleep(1.3)
    assert "gamma ... 1 s" in stream.getvalue()
