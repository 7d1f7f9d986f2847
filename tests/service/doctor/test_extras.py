"""`vmat-rt doctor` on an installation that lacks an extra."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.doctor.test_examination import config_of, named
from vmat_rt.bundle import list_installed_bundles
from vmat_rt.system import extras
from vmat_rt_service.doctor.examination import examine, examine_machine
from vmat_rt_service.doctor.findings import find_worst


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda package: package not in packages)


def test_without_torch_it_warns_and_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    found = list(examine_machine())
    assert find_worst(found) == "warn"
    assert "pip install 'vmat-rt[network]'" in named(found, "device", "warn").remedy
    assert "head_neck_geometric" in named(found, "models", "warn").detail
    assert "not installed: network, train" in named(found, "extras", "ok").detail


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_configured_network_that_cannot_run_fails(monkeypatch: pytest.MonkeyPatch, by_folder: bool) -> None:
    without(monkeypatch, "torch")
    bundle = next(bundle for bundle in list_installed_bundles() if bundle.manifest.kind == "network")
    finding = named(examine_machine(model=str(bundle.folder) if by_folder else bundle.manifest.name), "models", "fail")
    assert "every study is refused" in finding.detail
    assert "pip install 'vmat-rt[network]'" in finding.remedy


def test_a_service_without_its_packages_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "watchdog")
    finding = named(examine(config_of(tmp_path)), "extras", "fail")
    assert "watchdog not installed" in finding.detail
    assert "pip install 'vmat-rt[service]'" in finding.remedy
