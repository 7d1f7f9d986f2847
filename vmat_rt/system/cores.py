"""How many processor cores this process may use: fewer than the machine has where it is bound or in a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that the affinity mask and the CPU quotas of all enclosing control groups leave, at least 1.

    A quota of one and a half cores counts as two. Sources: sched_getaffinity(2); cpu.max of
    Documentation/admin-guide/cgroup-v2.rst and cpu.cfs_quota_us of scheduler/sched-bwc.rst in the Linux kernel.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_cgroup_cores(_OWN_CGROUPS, _CGROUPS)
    return max(1, bound if quota is None else min(bound, math.ceil(quota)))


def read_cgroup_cores(own: Path, root: Path) -> float | None:
    """The lowest CPU quota of the groups that the file `own` (/proc/self/cgroup) lists, in cores; None without one.

    root: where the control groups are mounted. A container often sees its own group as the root, so every folder from
    the group up to the root is asked.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mounts, read = (root, root / "unified"), _read_quota_v2
        elif "cpu" in controllers.split(","):
            mounts, read = (root / controllers, root / "cpu"), _read_quota_v1
        else:
            continue
        for mount in mounts:
            folder = mount / group.strip("/")
            enclosing = [folder, *folder.parents]
            for one in enclosing[: len(folder.parts) - len(mount.parts) + 1]:
                quota = read(one)
                if quota is not None:
                    quotas.append(quota)
    return min(quotas, default=None)


def _read_quota_v2(folder: Path) -> float | None:
    """Read a file such as "150000 100000": microseconds of processor time in each period, or "max 100000"."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_quota_v1(folder: Path) -> float | None:
    """cpu.cfs_quota_us over cpu.cfs_period_us; a quota of -1 is none."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
