"""`vmat-rt doctor`: everything that must be right before the first study arrives."""

from __future__ import annotations

from collections.abc import Iterator

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.doctor.findings import Finding, collect_findings
from vmat_rt_service.doctor.folders import check_folders
from vmat_rt_service.doctor.machine import (
    check_clock,
    check_compiler,
    check_device,
    check_extras,
    check_memory,
    check_user,
)
from vmat_rt_service.doctor.models import check_models, check_protocols
from vmat_rt_service.doctor.network import check_destinations, check_ports
from vmat_rt_service.doctor.records import check_records


def examine_machine(
    device: str = "auto", protocol: str | None = None, model: str | None = None, extras: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """What does not depend on a site's folders and nodes. extras: those that have to be installed."""
    yield from collect_findings("extras", lambda: check_extras(extras))
    yield from collect_findings("device", lambda: check_device(device))
    yield from collect_findings("compiler", check_compiler)
    yield from collect_findings("protocols", lambda: check_protocols(protocol))
    yield from collect_findings("models", lambda: check_models(protocol, model))
    yield from collect_findings("clock", check_clock)


def examine(config: ServiceConfig) -> Iterator[Finding]:
    """Everything, in the order in which a study meets it."""
    yield from collect_findings("user", check_user)
    yield from examine_machine(config.device, config.protocol, config.model, ("service",))
    yield from collect_findings("memory", lambda: check_memory(config))
    yield from collect_findings("folders", lambda: check_folders(config))
    yield from collect_findings("records", lambda: check_records(config))
    yield from collect_findings("ports", lambda: check_ports(config))
    yield from collect_findings("destinations", lambda: check_destinations(config))
