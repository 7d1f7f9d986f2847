"""Who may come in, and what peers that misbehave cost the others: nothing."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
)
from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RQ

from tests.patience import PROMPT_SECONDS, wait_for
from tests.service.attackers import echo_from, holding, silent
from tests.service.peers import (
    CT,
    associated,
    associations,
    certificate,
    dcmtk,
    echoes,
    encoded,
    events,
    hidden,
    listening,
    node_config,
    request,
)
from vmat_rt.errors import ConfigError
from vmat_rt_service.network import connections
from vmat_rt_service.network.callers import ASK_SECONDS
from vmat_rt_service.network.node import Node
from vmat_rt_service.visitors import MOST_SILENT


def test_titles_and_callers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    with listening(node_config(tmp_path, ae_title="NODE", allowed_callers=["SCANNER"])) as port:
        assert echoes(port, "-aet", "SCANNER", called="NODE")
        assert not echoes(port, "-aet", "SCANNER", called="VMATRT")
        assert not echoes(port, "-aet", "STRANGER", called="NODE")
    assert events(caplog)["association refused"] == {"caller": "STRANGER"}


def test_an_unlisted_host_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    with listening(node_config(tmp_path, allowed_hosts=["192.0.2.0/24"])) as port:
        assert not echoes(port)
    assert events(caplog)["host refused"] == {"code": "HOST"}
    with listening(node_config(tmp_path, allowed_hosts=["192.0.2.0/24", "127.0.0.1"])) as port:
        assert echoes(port)


def test_one_association_too_many_is_told_so_and_leaves_room_again(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=2)) as port:
        with associated(port, CT), associated(port, CT, host="127.0.0.2"):
            refused = dcmtk("echoscu", port)
            assert refused.returncode != 0
            assert "Local Limit Exceeded" in refused.stdout + refused.stderr
        wait_for(lambda: echoes(port), PROMPT_SECONDS)


def test_tls_by_a_self_signed_certificate_one_way_and_mutual(tmp_path: Path) -> None:
    server, server_key = certificate(tmp_path, "server")
    client, client_key = certificate(tmp_path, "client")
    tls = {"certificate": str(server), "key": str(server_key)}
    anonymous: tuple[str | Path, ...] = ("+tla", "+cf", server)
    known: tuple[str | Path, ...] = ("+tls", client_key, client, "+cf", server)
    with listening(node_config(tmp_path, tls=tls)) as port:
        assert echoes(port, *anonymous)
        assert not echoes(port), "without TLS"
    with listening(node_config(tmp_path, tls={**tls, "ca": str(client)})) as port:
        assert echoes(port, *known)
        assert not echoes(port, *anonymous), "without a certificate"


def test_a_peer_that_never_shakes_hands_holds_up_nobody(tmp_path: Path) -> None:
    server, key = certificate(tmp_path, "server")
    with (
        listening(node_config(tmp_path, tls={"certificate": str(server), "key": str(key)})) as port,
        socket.create_connection(("127.0.0.1", port)),
    ):
        begun = time.monotonic()
        assert echoes(port, "+tla", "+cf", server)
        assert time.monotonic() - begun < 9


def test_an_unusable_certificate_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="certificate"):
        Node(node_config(tmp_path, tls={"certificate": str(tmp_path / "x.pem"), "key": str(tmp_path / "x.pem")}))


NOISE = {
    "huge request": b"\x01\x00\xff\xff\xff\xff",
    "huge data": b"\x04\x00\x7f\xff\xff\xff" + bytes(100),
    "http": b"GET / HTTP/1.0\r\n\r\n",
    "zeros": bytes(1000),
    "one byte": b"\x01",
}


@pytest.mark.parametrize("content", NOISE.values(), ids=NOISE.keys())
def test_noise_ends_its_own_connection_only(tmp_path: Path, content: bytes) -> None:
    with listening(node_config(tmp_path)) as port, socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(content)
        assert echoes(port)
        peer.settimeout(10)
        with suppress(OSError):  # it has closed already
            peer.shutdown(socket.SHUT_WR)
        assert ended(peer)
        wait_for(lambda: not associations(), PROMPT_SECONDS)


def test_silent_connections_shut_nobody_out(tmp_path: Path) -> None:
    """From the same host too: a site may reach the node through one address."""
    with listening(node_config(tmp_path, max_associations=1)) as port:
        with silent(port, 150):
            assert [echo_from(port) is not None for _ in range(5)] == [True] * 5
            wait_for(lambda: len(associations()) <= MOST_SILENT, PROMPT_SECONDS)
        wait_for(lambda: not associations(), PROMPT_SECONDS)


def test_one_host_never_has_all_associations(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=4, max_associations_per_host=9)) as port:
        with holding(port, 6) as held:
            assert len(held) == 3
            assert echo_from(port, "127.0.0.2") is not None
        wait_for(lambda: echo_from(port) is not None, PROMPT_SECONDS)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_only_trickles_ends_in_time(tmp_path: Path, tls: bool) -> None:
    server, key = certificate(tmp_path, "server")
    more = {"tls": {"certificate": str(server), "key": str(key)}} if tls else {}
    begin = b"\x16\x03\x01\x02\x00" if tls else b"\x01\x00\x00\x00\x02\x00\x00\x01"
    with listening(node_config(tmp_path, **more)) as port, socket.create_connection(("127.0.0.1", port)) as peer:
        begun = time.monotonic()
        with suppress(OSError):
            for byte in begin + bytes(100):
                peer.sendall(bytes([byte]))
                time.sleep(0.3)
        assert time.monotonic() - begun < ASK_SECONDS + 6
        wait_for(lambda: not associations(), PROMPT_SECONDS)


def test_a_message_that_takes_too_long_ends_its_association(
    tmp_path: Path, study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MESSAGE_SECONDS", 0.5)
    config = node_config(tmp_path)
    image = pydicom.dcmread(study.ct_files[0])
    with listening(config) as port, associated(port, CT) as association:
        message = C_STORE_RQ()
        message.primitive_to_message(request(CTImageStorage, image.SOPInstanceUID, bytes(10**6)))
        context = int(association.accepted_contexts[0].context_id or 0)
        for part in message.encode_msg(context, 16382):
            if not association.is_established:
                break
            association.dul.send_pdu(part)
            time.sleep(0.1)
        wait_for(lambda: not association.is_established, PROMPT_SECONDS)
        assert hidden(config.inbox) == []


def test_an_association_that_has_ended_leaves_its_place_at_once(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=1)) as port:
        assert [echoes(port) for _ in range(10)] == [True] * 10


def ended(peer: socket.socket) -> bool:
    """Whether the other side closes the connection before the socket's time limit."""
    try:
        while peer.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


# pynetdicom's own thread may still hold an answer when the association ends, and says so by ending with an exception
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_peer_that_does_not_wait_for_answers_is_cut_off(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    entity = AE("TESTS")
    entity.add_requested_context(*CT)
    image = pydicom.dcmread(study.ct_files[0])
    with listening(config) as port:
        association = entity.associate("127.0.0.1", port, ae_title="VMATRT")
        context = int(association.accepted_contexts[0].context_id or 0)
        for _ in range(200):
            association.dimse.send_msg(request(CTImageStorage, image.SOPInstanceUID, encoded(image)), context)
        wait_for(lambda: not association.is_established or association.dul.to_provider_queue.empty())
        association.abort()
        assert echoes(port)
        wait_for(lambda: not hidden(config.inbox), PROMPT_SECONDS)
        wait_for(lambda: not associations(), PROMPT_SECONDS)
