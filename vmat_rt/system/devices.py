"""The names of devices that a network may run on. Which of them this machine has, vmat_rt.nn.device says."""

from __future__ import annotations

import re

from vmat_rt.errors import ConfigError

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def require_device_name(text: str) -> None:
    """Raise ConfigError unless `text` is auto, cpu, cuda or cuda:<number>."""
    if not _DEVICE.fullmatch(text):
        raise ConfigError(f"no device is called {text!r}; there are auto, cpu, cuda and cuda:<number>")
