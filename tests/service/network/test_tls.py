"""TLS contexts made of real certificates shake hands as configured, and unusable files are named."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.service.peers import certificate, node_config
from vmat_rt.errors import ConfigError
from vmat_rt_service.config import DestinationTls, ListenConfig, TlsConfig
from vmat_rt_service.network.companion import Listener, make_companions
from vmat_rt_service.network.tls import make_client_context, make_server_context


def shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "127.0.0.1") -> bool:
    """Whether the client reads what the server writes after the handshake of both."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as end:
                end.sendall(b"hello")
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    theirs.settimeout(20)
    try:
        with client.wrap_socket(theirs, server_hostname=host) as end:
            return end.recv(5) == b"hello"
    except OSError:
        return False
    finally:
        theirs.close()
        thread.join()


def test_a_known_certificate_is_trusted_for_its_host_only(tmp_path: Path) -> None:
    own, key = certificate(tmp_path, "server")
    other, _ = certificate(tmp_path, "other")
    server = make_server_context(TlsConfig(certificate=own, key=key))
    assert shakes_hands(server, make_client_context(DestinationTls(ca=own)))
    assert not shakes_hands(server, make_client_context(DestinationTls(ca=other)))
    assert not shakes_hands(server, make_client_context(DestinationTls(ca=own)), host="127.0.0.2")
    assert not shakes_hands(server, make_client_context(DestinationTls())), "the system does not know it"


def test_with_a_ca_only_its_callers_come_in(tmp_path: Path) -> None:
    own, key = certificate(tmp_path, "server")
    caller, callers_key = certificate(tmp_path, "caller")
    server = make_server_context(TlsConfig(certificate=own, key=key, ca=caller))
    known = DestinationTls(ca=own, certificate=caller, key=callers_key)
    assert shakes_hands(server, make_client_context(known))
    assert not shakes_hands(server, make_client_context(DestinationTls(ca=own)))


def test_older_versions_are_not_spoken(tmp_path: Path) -> None:
    own, key = certificate(tmp_path, "server")
    for context in (
        make_server_context(TlsConfig(certificate=own, key=key)),
        make_client_context(DestinationTls(ca=own)),
    ):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ("certificate", "absent"),
        ("key", "absent"),
        ("ca", "absent"),
        ("certificate", "nonsense"),
        ("key", "nonsense"),
        ("ca", "nonsense"),
        ("key", "another's"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, broken: str, fault: str) -> None:
    own, key = certificate(tmp_path, "server")
    files = {"certificate": own, "key": key, "ca": own}
    files[broken] = tmp_path / "broken.pem"
    if fault == "nonsense":
        files[broken].write_text("nothing")
    elif fault == "another's":
        files[broken] = certificate(tmp_path, "another")[1]
    with pytest.raises(ConfigError, match=r"listen\.tls"):
        make_server_context(TlsConfig(**files))
    with pytest.raises(ConfigError, match=r"destinations\.tls"):
        make_client_context(DestinationTls(**files))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7"])
def test_a_node_that_anybody_could_store_into_is_refused_with_the_remedy(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"listen\.allowed_callers.*listen\.tls.*127\.0\.0\.1"):
        make_companions(node_config(tmp_path, host=host))


@pytest.mark.parametrize("known", [{"allowed_callers": ["TPS"]}, {"allowed_hosts": ["10.0.0.0/8"]}, {"host": "::1"}])
def test_named_callers_or_loopback_are_enough(tmp_path: Path, known: dict[str, Any]) -> None:
    (listener,) = make_companions(node_config(tmp_path, **{"host": "0.0.0.0", **known}))
    assert isinstance(listener, Listener)


def test_a_node_listens_on_loopback_unless_told_otherwise() -> None:
    assert ListenConfig.model_validate({}).host == "127.0.0.1"
