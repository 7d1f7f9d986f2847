"""Cores: the affinity mask, and quotas of control groups as the kernel writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmat_rt.system.cores import read_cgroup_cores, usable_cores


def test_there_is_at_least_one_and_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from vmat_rt.system.cores import usable_cores\n"
        "print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout.strip() == b"1"


def quota_v2(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("text", "cores"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("400000 100000\n", 4.0), ("nonsense", None)]
)
def test_a_quota_of_the_second_version_is_read(tmp_path: Path, text: str, cores: float | None) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/\n", encoding="utf-8")
    quota_v2(tmp_path / "fs", text)
    assert read_cgroup_cores(own, tmp_path / "fs") == cores


def test_the_lowest_quota_of_all_enclosing_groups_counts(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/pod/container\n", encoding="utf-8")
    quota_v2(root, "max 100000")
    quota_v2(root / "pod", "200000 100000")
    quota_v2(root / "pod" / "container", "800000 100000")
    assert read_cgroup_cores(own, root) == 2.0
    quota_v2(tmp_path, "100000 100000")
    assert read_cgroup_cores(own, root) == 2.0, "what lies above the mount is no group"


def test_a_group_that_is_named_from_outside_the_container_is_found_at_the_root(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/system.slice/docker-1234.scope\n", encoding="utf-8")
    quota_v2(tmp_path / "fs", "50000 100000")
    assert read_cgroup_cores(own, tmp_path / "fs") == 0.5


@pytest.mark.parametrize(("quota", "cores"), [("250000", 2.5), ("-1", None)])
def test_a_quota_of_the_first_version_is_read(tmp_path: Path, quota: str, cores: float | None) -> None:
    own, group = tmp_path / "cgroup", tmp_path / "fs" / "cpu,cpuacct" / "job"
    own.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n", encoding="utf-8")
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota, encoding="ascii")
    (group / "cpu.cfs_period_us").write_text("100000", encoding="ascii")
    assert read_cgroup_cores(own, tmp_path / "fs") == cores


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert read_cgroup_cores(tmp_path / "absent", tmp_path) is None


def test_a_part_of_a_core_counts_as_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmat_rt.system.cores.read_cgroup_cores", lambda _own, _root: 0.3)
    assert usable_cores() == 1
