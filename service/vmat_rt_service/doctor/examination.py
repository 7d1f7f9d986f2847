"""`vmat-rt doctor`: everything that must be right before the first study arrives."""

from __future__ import annotations

from collections.abc import Iterator

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.doctor.findings import Finding, looked_at
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


def examine_machine(
    device: str = "auto", protocol: str | None = None, model: str | None = None, extras: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """What does not depend on a site's folders and nodes. extras: those that have to be installed."""
    yield from looked_at("extras", lambda: check_extras(extras))
    yield from looked_at("device", lambda: check_device(device))
    yield from looked_at("compiler", check_compiler)
    yield from looked_at("protocols", lambda: check_protocols(protocol))
    yield from looked_at("models", lambda: check_models(protocol, model))
    yield from looked_at("clock", check_clock)


def examine(config: ServiceConfig) -> Iterator[Finding]:
    """Everything, in the order in which a study meets it."""
    yield from looked_at("user", check_user)
    yield from examine_machine(config.device, config.protocol, config.model, ("service",))
    yield from looked_at("memory", lambda: check_memory(config))
    yield from looked_at("folders", lambda: check_folders(config))
    yield from looked_at("ports", lambda: check_ports(config))
    yield from looked_at("destinations", lambda: check_destinations(config))
