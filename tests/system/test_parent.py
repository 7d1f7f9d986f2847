"""Children of a process that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.patience import wait_for

CHILD = """
import os, sys, time
from pathlib import Path
from vmat_rt.system.parent import die_with_parent
die_with_parent(int(sys.argv[1]))
Path(sys.argv[2]).write_text(str(os.getpid()))
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a request of Linux")
def test_a_child_is_killed_with_its_parent(tmp_path: Path) -> None:
    sign = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(sign)])
    try:
        wait_for(lambda: sign.exists() and sign.read_text(), process=parent)
        child = int(sign.read_text())
        assert psutil.pid_exists(child)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not psutil.pid_exists(child), 20)


def test_a_child_whose_parent_died_first_ends_at_once(tmp_path: Path) -> None:
    sign = tmp_path / "pid"
    another = os.getppid()
    child = subprocess.run([sys.executable, "-c", CHILD, str(another), str(sign)], check=False, timeout=60)
    assert child.returncode == 1
    assert not sign.exists()
