"""On what a network runs, in which precision and with how many threads. Nothing falls back silently."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from vmat_rt.errors import ConfigError
from vmat_rt.system.cores import usable_cores
from vmat_rt.system.devices import require_device_name

Precision = Literal["auto", "float32", "bfloat16", "float16"]

log = logging.getLogger("vmat_rt")


def choose_device(text: str) -> torch.device:
    """The device called "auto", "cpu", "cuda" or "cuda:N". "auto" takes CUDA where there is some, and logs it.

    Raises ConfigError for another word or a device that this machine lacks.
    """
    require_device_name(text)
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        device = torch.device("cuda:0" if present else "cpu")
        log.info("device auto: %s", device if present else "cpu, for there is no CUDA device")
        return device
    if text == "cpu":
        return torch.device("cpu")
    index = int(text.partition(":")[2] or 0)
    if index >= present:
        raise ConfigError(f"device {text} was asked for, but this machine has {present} CUDA devices; use --device cpu")
    return torch.device("cuda", index)


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """The type in which convolutions are computed. Raises ConfigError for one that the device has no hardware for.

    "auto" is bfloat16 or else float16 on CUDA, and float32 on a CPU: there 16 bits gain a factor of about 1.5 where
    the processor has them at all, and the same study would get another dose on another computer.
    """
    types = sixteen_bit_types(device)
    if precision == "float32" or (precision == "auto" and device.type == "cpu"):
        return torch.float32
    if precision == "auto":
        return types[0]
    dtype: torch.dtype = getattr(torch, precision)
    if dtype not in types:
        name = "this processor" if device.type == "cpu" else torch.cuda.get_device_name(device)
        remedy = "float16" if torch.float16 in types else "float32"
        raise ConfigError(f"{name} does not compute in {precision}; use {remedy}")
    return dtype


def sixteen_bit_types(device: torch.device) -> tuple[torch.dtype, ...]:
    """The types of 16 bits that the device has hardware for, the one to prefer first.

    torch emulates bfloat16 on other processors: right, but a training step takes over twenty times as long.
    """
    if device.type == "cuda":
        modern = torch.cuda.get_device_capability(device) >= (8, 0)
        return (torch.bfloat16, torch.float16) if modern else (torch.float16,)
    return (torch.bfloat16,) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ()


@contextmanager
def bounded_threads(threads: int | None) -> Iterator[None]:
    """Run torch on `threads` threads, by default no more than the usable cores; the setting is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, usable_cores()) if threads is None else threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
