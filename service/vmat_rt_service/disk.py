"""Room on the disks that results and copies are written to."""

from __future__ import annotations

import shutil

from vmat_rt_service.config import ServiceConfig


def free_bytes(config: ServiceConfig) -> int:
    """The smaller of what is free for the outbox and for the state folder."""
    return min(shutil.disk_usage(folder).free for folder in (config.outbox, config.state))


def has_enough_space(config: ServiceConfig, needed_bytes: int = 0) -> bool:
    """Whether min_free_gb would still be free after writing needed_bytes."""
    return free_bytes(config) - needed_bytes >= config.min_free_gb * 1e9
