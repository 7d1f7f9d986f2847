"""Who may reach the DICOM node, and TLS of node and sender: mistakes are said before a child runs."""

from __future__ import annotations

import ssl

from vmat_rt.errors import ConfigError
from vmat_rt_service.addresses import is_loopback
from vmat_rt_service.config import DestinationTls, ListenConfig, TlsConfig


def require_known_callers(listen: ListenConfig) -> None:
    """Raise ConfigError for a node that any machine could store into. Usable certificates are asked for too."""
    if listen.tls is not None:
        make_server_context(listen.tls)
        return
    if not is_loopback(listen.host) and not listen.allowed_callers and not listen.allowed_hosts:
        raise ConfigError(
            f"listen.host {listen.host or '(all addresses)'} can be reached by other machines, any of which could send "
            "studies: name who may in listen.allowed_callers (AE titles) or listen.allowed_hosts, or set listen.tls, "
            "or use host 127.0.0.1"
        )


def make_server_context(tls: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 or later; with `ca`, only callers whose certificate it signed. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"listen.tls: certificate, key or ca cannot be used: {error}") from error
    return context


def make_client_context(tls: DestinationTls) -> ssl.SSLContext:
    """TLS 1.2 or later; the peer's certificate must be signed by `ca` and name its host. Raises ConfigError."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise ConfigError(f"destinations.tls: ca, certificate or key cannot be used: {error}") from error
    return context
