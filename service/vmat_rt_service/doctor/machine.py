"""The machine: device, compiler cache, memory, clock, user."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import vmat_rt
from vmat_rt.errors import ConfigError
from vmat_rt.system.extras import EXTRAS, format_pip_line, join_names, missing
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.doctor.findings import Finding, fail, ok, warn

_TIMEX_BYTES = 512  # struct timex of Linux takes 208
_CLOCK_UNSYNCHRONISED = 5
_CLOCK_SLACK_SECONDS = 60.0


def check_device(name: str) -> Iterator[Finding]:
    """Whether the configured device is there and computes. Geometric models need none."""
    status = warn if name in {"auto", "cpu"} else fail
    if absent := missing("network"):
        detail = f"{join_names(absent)} not installed: geometric models work, networks do not"
        yield status("device", detail, f"Run {format_pip_line('network')} for networks.")
        return
    try:
        import torch

        from vmat_rt.nn.device import choose_device
    except ImportError as error:
        detail = f"torch cannot be loaded ({error}); geometric models work, networks do not"
        yield status("device", detail, f"Install it again: {format_pip_line('network')} --force-reinstall")
        return
    try:
        device = choose_device(name)
    except ConfigError as error:
        yield fail("device", f"{error}.", "Set `device` to auto or cpu, or see that nvidia-smi lists the device.")
        return
    if device.type == "cpu":
        yield ok("device", f"{name}: networks run on the CPU, {torch.get_num_threads()} threads")
        return
    total = float(torch.ones(8, device=device).sum())
    if total != 8.0:
        yield fail("device", f"{device} computes wrongly: 8 ones add up to {total}", "Check the driver and the device.")
        return
    free, whole = torch.cuda.mem_get_info(device)
    card = torch.cuda.get_device_name(device)
    yield ok("device", f"{name}: {card}, {free / 1e9:.0f} of {whole / 1e9:.0f} GB free")


def check_extras(needed: tuple[str, ...] = ()) -> Iterator[Finding]:
    """What is installed besides the base. Only what is needed here has to be."""
    for extra in needed:
        if absent := missing(extra):
            yield fail(
                "extras",
                f"{join_names(absent)} not installed: the service cannot run",
                f"Run {format_pip_line(extra)}.",
            )
    present = [extra for extra in EXTRAS if not missing(extra)]
    absent_too = [extra for extra in EXTRAS if extra not in present]
    detail = f"installed: {', '.join(present) or 'none'}"
    if absent_too:
        detail += f"; not installed: {', '.join(absent_too)} ({format_pip_line(','.join(absent_too))})"
    yield ok("extras", detail)


def check_compiler() -> Iterator[Finding]:
    """Whether numba can keep what it compiles; otherwise every worker compiles again, or cannot start at all."""
    remedy = "Set NUMBA_CACHE_DIR to a folder that the service's user may write to."
    try:
        from vmat_rt.geometry.ray_kernels import sample
    except RuntimeError as error:  # numba found no place at all
        yield fail("compiler", f"compiled code has no place to be kept: {error}", remedy)
        return
    folder = Path(str(sample.stats.cache_path))
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        yield ok("compiler", f"compiled code is kept in {folder}")
    else:
        yield warn("compiler", f"compiled code cannot be kept in {folder}: each worker compiles it again", remedy)


def check_memory(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the workers' limits fit into this machine or container."""
    total_gb = total_memory_bytes() / 1e9
    asked_gb = config.workers * config.job_memory_gb
    detail = f"{config.workers} workers of at most {config.job_memory_gb:g} GB; this machine has {total_gb:.1f} GB"
    if asked_gb <= total_gb:
        yield ok("memory", detail)
    else:
        remedy = "Lower workers or job_memory_gb, so that a study too large ends by its own limit and not the system's."
        yield warn("memory", detail, remedy)


def total_memory_bytes() -> int:
    """Return the memory of the machine, or of the container where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or "max"
        return total
    return min(total, limit)


def check_clock() -> Iterator[Finding]:
    """DICOM dates and the audit log rest on the clock; no decision of the service does."""
    now = time.time()
    remedy = "Set the clock and let it be synchronised, e.g. `timedatectl set-ntp true`."
    installed = Path(vmat_rt.__file__).stat().st_mtime
    text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < installed - _CLOCK_SLACK_SECONDS:
        yield fail("clock", f"it says {text}, which is before vmat-rt was installed", remedy)
    elif _read_clock_state() == _CLOCK_UNSYNCHRONISED:
        yield warn("clock", f"it says {text} and is not synchronised with any other", remedy)
    else:
        yield ok("clock", text)


def _read_clock_state() -> int:
    """adjtimex(2) without changing anything: 0 to 4 synchronised, 5 not, -1 not to be told here."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    return -1 if adjtimex is None else int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))


def check_user() -> Iterator[Finding]:
    """Rights tested as root say nothing about the service's user."""
    if os.geteuid() == 0:
        remedy = "Run it as the service's own user: sudo -u vmat-rt vmat-rt doctor --config FILE"
        yield warn("user", "root may do everything, so the folders below are not tested for the service", remedy)
    else:
        yield ok("user", f"user number {os.geteuid()}")
