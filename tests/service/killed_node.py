"""A node that dies between the last byte of an object and its name. Run as a program, like the node itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vmat_rt_service.network import node


def die(_path: Path, _target: Path) -> Path:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    Path.replace = die  # type: ignore[assignment,method-assign]
    node.main(sys.argv[1:])
