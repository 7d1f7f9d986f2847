"""Processes of our own that talk in JSON lines, die with us and keep our lock while they live."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from vmat_rt.system.parent import die_with_parent


class Child:
    """A running `python -m module`. Nothing here blocks but `stop`."""

    def __init__(self, module: str, arguments: Iterable[str], descriptors: tuple[int, ...] = ()) -> None:
        self.name = module.rpartition(".")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(os.getpid()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            # A Ctrl-C at the terminal is for the service; it lets its workers finish.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.descriptor = self._process.stdout.fileno()
        os.set_blocking(self.descriptor, False)
        self._rest = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, ours or another's."""
        return self._process.poll() == -signal.SIGKILL

    def send(self, message: dict[str, Any]) -> bool:
        """Write one message; False when the child is no longer there."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def read_messages(self) -> list[dict[str, Any]]:
        """What has arrived since the last call; half a line of a child that died is dropped."""
        while True:
            try:
                block = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                break
            if not block:
                break
            self._rest += block
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines if line]

    def measure_memory_bytes(self) -> int:
        """Resident memory, 0 when it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as stream:  # noqa: PTH123
                return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def finish(self) -> None:
        """Ask it to end after its current job."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            return

    def kill(self) -> None:
        """End it at once and reap it; what it said last can still be read."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Free the pipes of a child that has ended."""
        self.finish()
        assert self._process.stdout is not None
        self._process.stdout.close()


def begin(arguments: list[str]) -> list[str]:
    """First act of a child: die with the parent, leave stop signals to it. Returns the arguments that are its own."""
    parent, *rest = arguments
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(int(parent))
    return rest


def is_told_to_end() -> bool:
    """Whether the parent closed the pipe; it sends nothing else while a child is busy."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def reply_channel() -> Any:
    """The line-buffered stream to the parent, taken before the libraries' output is silenced."""
    return os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")


def tell(channel: Any, message: dict[str, Any]) -> None:
    """One message to the parent, in one write."""
    channel.write(json.dumps(message) + "\n")
    channel.flush()
