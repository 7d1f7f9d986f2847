"""Room on the disks, against what the system itself says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.service.pages import configured
from vmat_rt_service.disk import free_bytes, has_enough_space


def test_free_is_what_the_file_system_says(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.state.mkdir(parents=True)
    status = os.statvfs(config.outbox)
    assert free_bytes(config) == pytest.approx(status.f_bavail * status.f_frsize, rel=0.05)


def test_what_must_stay_free_and_what_is_to_be_written_both_count(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.state.mkdir(parents=True)
    free_gb = free_bytes(config) / 1e9
    tight = config.model_copy(update={"min_free_gb": free_gb / 2})
    assert has_enough_space(tight)
    assert has_enough_space(tight, int(free_gb / 4 * 1e9))
    assert not has_enough_space(tight, int(free_gb * 3 / 4 * 1e9))
    assert not has_enough_space(config.model_copy(update={"min_free_gb": 2 * free_gb + 1}))
