"""What the service listens on and whom it sends to: TCP first, then a DICOM echo."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing

from vmat_rt.errors import ConfigError
from vmat_rt_service.addresses import explain_refusal
from vmat_rt_service.config import Destination, ListenConfig, ServiceConfig
from vmat_rt_service.doctor.findings import Finding, fail, ok, warn
from vmat_rt_service.network.tls import make_client_context, require_known_callers
from vmat_rt_service.web.access import make_access

_SECONDS = 5.0
_VERIFICATION = "1.2.840.10008.1.1"
_DEFAULT_TITLE = "VMATRT"


def check_ports(config: ServiceConfig) -> Iterator[Finding]:
    """The page's rule of access, and whether its port and the DICOM node's are free or our own."""
    running = is_service_running(config)
    yield ok("service", "it runs" if running else "it does not run now")
    if config.web.enabled:
        yield _check_web(config, running)
    if config.listen is not None:
        yield _check_node(config.listen, running)


def is_service_running(config: ServiceConfig) -> bool:
    """Whether a service holds the lock of this state folder."""
    try:
        descriptor = os.open(config.state / "service.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _check_web(config: ServiceConfig, running: bool) -> Finding:
    try:
        make_access(config.web)
    except ConfigError as error:
        return fail("status page", f"{error}.", "The service does not start as it is.")
    return _check_port("status page", config.web.host, config.web.port, running)


def _check_node(listen: ListenConfig, running: bool) -> Finding:
    try:
        require_known_callers(listen)
    except ConfigError as error:
        return fail("DICOM node", f"{error}.", "The service does not start as it is.")
    return _check_port("DICOM node", listen.host, listen.port, running)


def _check_port(name: str, host: str, port: int, running: bool) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if running:
                return ok(name, f"port {port} is in use while the service runs")
            refusal = explain_refusal(error, host, port, "listen.port" if name == "DICOM node" else "web.port")
            return fail(name, f"it cannot listen: {refusal.sentence}", refusal.remedy)
    if running and port:
        return warn(name, f"the service runs but nothing listens on {host} port {port}", "Look into the service's log.")
    return ok(name, f"port {port} of {host} is free")


def check_destinations(config: ServiceConfig) -> Iterator[Finding]:
    """Every destination answers a DICOM echo."""
    own_title = config.listen.ae_title if config.listen else _DEFAULT_TITLE
    for destination in config.destinations:
        yield _check_destination(destination, own_title)


def _check_destination(destination: Destination, own_title: str) -> Finding:
    name = f"destination {destination.name}"
    address = f"{destination.host} port {destination.port}"
    try:
        socket.create_connection((destination.host, destination.port), _SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        remedy = "Check host, port and firewall; results wait and are sent again."
        return fail(name, f"{address} cannot be reached: {why}", remedy)
    return _echo(name, address, destination, own_title)


def _echo(name: str, address: str, destination: Destination, own_title: str) -> Finding:
    try:
        from pynetdicom import AE
    except ImportError:
        return fail(name, "pynetdicom is not installed", "Install vmat-rt with its dependencies.")
    entity = AE(ae_title=own_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _SECONDS
    entity.add_requested_context(_VERIFICATION)
    try:
        tls = (make_client_context(destination.tls), destination.host) if destination.tls else None
    except ConfigError as error:
        return fail(name, f"{error}.", "Give PEM files that the service's user may read.")
    association = entity.associate(destination.host, destination.port, ae_title=destination.ae_title, tls_args=tls)
    if not association.is_established:
        reason = "rejects" if association.is_rejected else "does not accept"
        detail = f"{address} is reached, but {destination.ae_title} {reason} an association with {own_title}"
        return fail(name, detail, f"Register {own_title} there, and check the called AE title {destination.ae_title}.")
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if status and status.Status == 0:
        return ok(name, f"{destination.ae_title} at {address} answers a DICOM echo")
    return fail(name, f"{destination.ae_title} at {address} does not answer a DICOM echo", "Check that it runs.")
