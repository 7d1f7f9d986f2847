"""TLS contexts of the DICOM node and of the sender, without DICOM: a wrong file is reported before a child runs."""

from __future__ import annotations

import ssl

from vmat_rt.errors import ConfigError
from vmat_rt_service.config import DestinationTls, TlsConfig


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
