"""The DICOM node against dcmtk's programs and against peers that misbehave."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.pixels import get_decoder
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RQ

from tests.dicom_phantom import edited, save, write_study
from tests.patience import PATIENCE_SECONDS, PROMPT_SECONDS, wait_for
from tests.ports import free_port
from tests.service.peers import (
    associated,
    certificate,
    dcmtk,
    echoes,
    hidden,
    listening,
    node_config,
    request,
    same_content,
    store,
    store_raw,
    visible,
)
from vmat_rt.errors import ConfigError
from vmat_rt_service.intake.inbox import Inbox
from vmat_rt_service.network.companion import Listener
from vmat_rt_service.network.connections import permitted
from vmat_rt_service.network.node import SYNTAXES, Node
from vmat_rt_service.network.received import Announced, RefusalError, Shelf, Status

CT = (CTImageStorage, ExplicitVRLittleEndian)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_study(tmp_path_factory.mktemp("study"), seed="network", plan=True, dose=True, patient="SENTINEL^NAME")


def events(caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    return {record.msg: record.fields for record in caplog.records if record.name == "vmat_rt_service"}  # type: ignore[attr-defined]


# ---- what it takes


def test_a_study_arrives_as_it_was_sent(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    with listening(config) as port:
        assert echoes(port)
        sent = dcmtk("storescu", port, "+sd", "+r", study.folder)
        assert sent.returncode == 0, sent.stderr
    files = visible(config.inbox)
    originals = {pydicom.dcmread(path).SOPInstanceUID: path for path in study.folder.rglob("*.dcm")}
    assert len(files) == len(originals) == 14
    for path in files:
        kind, uid = path.name[:2], path.name[3:-4]
        assert kind == {"CT": "CT", "rs": "RS", "rp": "RP", "rd": "RD"}.get(originals[uid].stem[:2], "CT")
        assert same_content(path, originals[uid])
    assert len({path.parent for path in files}) == 1
    places = [str(path.relative_to(config.inbox)) for path in files]
    assert all(re.fullmatch(r"received/[0-9a-f]{16}/[A-Z]{2}\.[0-9.]+\.dcm", place) for place in places)
    assert hidden(config.inbox) == []


def test_stored_files_are_dicom_files_to_another_program(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    with listening(config) as port:
        assert dcmtk("storescu", port, study.structures_file).returncode == 0
    (path,) = visible(config.inbox)
    subprocess.run(["dcmdump", "-q", str(path)], check=True, capture_output=True)
    assert path.read_bytes()[128:132] == b"DICM"


def test_an_instance_that_comes_again_replaces_the_older_whole(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    changed = tmp_path / "changed.dcm"
    with edited(study.structures_file, changed) as ds:
        ds.StructureSetLabel = "LATER"
    with listening(config) as port:
        assert dcmtk("storescu", port, study.structures_file).returncode == 0
        (path,) = visible(config.inbox)
        with path.open("rb") as reader:
            assert dcmtk("storescu", port, changed).returncode == 0
            assert same_content(path, changed)
            older = tmp_path / "older.dcm"
            older.write_bytes(reader.read())
    assert visible(config.inbox) == [path]
    assert same_content(older, study.structures_file)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLosslessSV1],
    ids=lambda uid: uid.keyword,
)
def test_transfer_syntaxes_are_kept(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    phantom = write_study(tmp_path / "study", structures=False)
    truth = pydicom.dcmread(phantom.ct_files[0])
    if syntax in {ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}:
        truth.file_meta.TransferSyntaxUID = syntax
        truth.save_as(tmp_path / "sent.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=True)
        sent = pydicom.dcmread(tmp_path / "sent.dcm")
    else:
        sent = pydicom.dcmread(write_study(tmp_path / "other", transfer_syntax=syntax).ct_files[0])
    config = node_config(tmp_path)
    with listening(config) as port, associated(port, (CTImageStorage, syntax)) as association:
        assert store(association, sent) == Status.STORED
    (path,) = visible(config.inbox)
    found = pydicom.dcmread(path)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert (found.pixel_array == truth.pixel_array).all()


def test_every_transfer_syntax_that_is_taken_can_be_read() -> None:
    assert len(set(SYNTAXES)) == len(SYNTAXES)
    assert all(get_decoder(uid).is_available for uid in SYNTAXES)


# ---- who may come in


def test_titles_and_callers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    with listening(node_config(tmp_path, ae_title="NODE", allowed_callers=["SCANNER"])) as port:
        assert echoes(port, "-aet", "SCANNER", called="NODE")
        assert not echoes(port, "-aet", "SCANNER", called="VMATRT")
        assert not echoes(port, "-aet", "STRANGER", called="NODE")
    assert events(caplog)["association refused"] == {"caller": "STRANGER"}


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("10.1.2.3", ["10.1.2.3"], True),
        ("10.1.2.3", ["10.1.2.4", "10.1.0.0/16"], True),
        ("10.1.2.3", ["10.2.0.0/16"], False),
        ("::ffff:10.1.2.3", ["10.1.2.3"], True),
        ("127.0.0.1", ["localhost"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("10.1.2.3", ["no-such-host.invalid"], False),
    ],
)
def test_hosts(host: str, allowed: list[str], expected: bool) -> None:
    assert permitted(host, allowed) is expected


def test_an_unlisted_host_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    with listening(node_config(tmp_path, allowed_hosts=["192.0.2.0/24"])) as port:
        assert not echoes(port)
    assert events(caplog)["host refused"] == {"code": "HOST"}
    with listening(node_config(tmp_path, allowed_hosts=["192.0.2.0/24", "127.0.0.1"])) as port:
        assert echoes(port)


def test_one_association_too_many_is_told_so_and_leaves_room_again(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=2)) as port:
        with associated(port, CT), associated(port, CT):
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


# ---- what it refuses


def test_an_oversized_object_is_refused_and_the_rest_kept(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path, max_object_mb=1)
    large = pydicom.dcmread(study.ct_files[0])
    large.Rows = large.Columns = 1024
    large.PixelData = bytes(2 * 1024 * 1024)
    with listening(config) as port, associated(port, CT) as association:
        assert store(association, pydicom.dcmread(study.ct_files[1])) == Status.STORED
        assert store(association, large) == Status.TOO_LARGE
        assert hidden(config.inbox) == []
        assert store(association, pydicom.dcmread(study.ct_files[2])) == Status.STORED
    assert len(visible(config.inbox)) == 2


def test_secondary_captures_are_refused_by_name(tmp_path: Path, study: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    capture = tmp_path / "capture.dcm"
    with edited(study.ct_files[0], capture) as ds:
        ds.SOPClassUID = SecondaryCaptureImageStorage
    config = node_config(tmp_path)
    with (
        listening(config) as port,
        associated(port, CT, (SecondaryCaptureImageStorage, ExplicitVRLittleEndian)) as association,
    ):
        with pytest.raises(ValueError, match="No presentation context"):
            store(association, pydicom.dcmread(capture))
        assert store(association, pydicom.dcmread(study.ct_files[0])) == Status.STORED
    assert [path.name[:2] for path in visible(config.inbox)] == ["CT"]
    assert events(caplog)["kinds refused"]["code"] == "SecondaryCaptureImageStorage"


def test_bad_instances_are_answered_and_the_association_lives_on(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    good = pydicom.dcmread(study.ct_files[0])
    uid, content = str(good.SOPInstanceUID), encoded(good)
    unnamed = pydicom.dcmread(study.ct_files[0])
    del unnamed.StudyInstanceUID
    with listening(config) as port, associated(port, CT) as association:
        assert store_raw(association, CTImageStorage, uid, b"\xff" * 5000) == Status.NOT_UNDERSTOOD
        assert store_raw(association, CTImageStorage, uid, b"\x08\x00") == Status.NOT_UNDERSTOOD
        assert store_raw(association, CTImageStorage, "1.2.3", content) == Status.MISMATCH
        assert store_raw(association, SecondaryCaptureImageStorage, uid, content) == Status.MISMATCH
        assert store_raw(association, CTImageStorage, "../../../escape", content) == Status.INVALID_INSTANCE
        assert store_raw(association, CTImageStorage, uid, encoded(unnamed)) == Status.NOT_UNDERSTOOD
        assert visible(config.inbox) == hidden(config.inbox) == []
        assert store_raw(association, CTImageStorage, uid, content) == Status.STORED
    assert len(visible(config.inbox)) == 1
    assert not list(tmp_path.parent.glob("escape*"))


def encoded(ds: pydicom.Dataset) -> bytes:
    """A dataset in explicit VR little endian, without file meta information."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return bytes(stream.getvalue())


@contextmanager
def files_of_at_most(size: int) -> Any:
    """Writes beyond `size` bytes fail, as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_write_is_answered_and_leaves_nothing(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    image = pydicom.dcmread(study.ct_files[0])
    with listening(config) as port, associated(port, CT) as association:
        with files_of_at_most(1000):
            assert store(association, image) == Status.OUT_OF_RESOURCES
        assert visible(config.inbox) == hidden(config.inbox) == []
        assert store(association, image) == Status.STORED


def test_low_disk_refuses_before_it_is_full(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path).model_copy(update={"min_free_gb": 1e9})
    with listening(config) as port, associated(port, CT) as association:
        assert store(association, pydicom.dcmread(study.ct_files[0])) == Status.OUT_OF_RESOURCES
    assert visible(config.inbox) == hidden(config.inbox) == []


def test_a_deflated_object_is_not_inflated_beyond_its_beginning(tmp_path: Path, study: Any) -> None:
    image = pydicom.dcmread(study.ct_files[0])
    bomb = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = bomb.compress(encoded(image))
    packed += b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush()
    shelf = Shelf(tmp_path, 10**7, 0)
    arrival = shelf.expect(Announced(CTImageStorage, image.SOPInstanceUID, DeflatedExplicitVRLittleEndian))
    tracemalloc.start()
    arrival.write(packed)
    arrival.keep()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


def test_faults_are_told_once_the_object_is_over(tmp_path: Path) -> None:
    arrival = Shelf(tmp_path, 10, 0).expect(Announced(CTImageStorage, "1.2", ExplicitVRLittleEndian))
    for _ in range(3):
        arrival.write(bytes(8))
    with pytest.raises(RefusalError) as told:
        arrival.keep()
    assert told.value.status == Status.TOO_LARGE


# ---- what becomes of a node that dies, and of peers that leave


def test_a_sender_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    image = pydicom.dcmread(study.ct_files[0])
    with listening(config) as port, associated(port, CT) as association:
        message = C_STORE_RQ()
        message.primitive_to_message(request(CTImageStorage, image.SOPInstanceUID, bytes(10**6)))
        context = int(association.accepted_contexts[0].context_id or 0)
        for number, part in enumerate(message.encode_msg(context, 16382)):
            if number == 30:
                break
            association.dul.send_pdu(part)
        wait_for(lambda: hidden(config.inbox))
        assert visible(config.inbox) == []
        association.abort()
        wait_for(lambda: not hidden(config.inbox), PROMPT_SECONDS)
    assert visible(config.inbox) == []


def test_a_node_killed_before_the_rename_shows_nothing_and_is_swept_later(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    process, port = own_process(config, "tests.service.killed_node")
    assert dcmtk("storescu", port, study.structures_file).returncode != 0
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert visible(config.inbox) == []
    (left,) = hidden(config.inbox)
    inbox = Inbox(config.inbox, 0.0)
    inbox.scan(1.0)
    assert len(inbox) == 0
    with listening(config) as port:
        assert hidden(config.inbox) == [left], "another node could be receiving it"
    os.utime(left, (time.time() - 7200,) * 2)
    with listening(config) as port:
        assert hidden(config.inbox) == []
        assert dcmtk("storescu", port, study.structures_file).returncode == 0
    assert len(visible(config.inbox)) == 1


def test_memory_does_not_grow_with_the_object(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    large = tmp_path / "large.dcm"
    ds = pydicom.dcmread(study.ct_files[0])
    ds.Rows = ds.Columns = 6000
    ds.PixelData = bytes(2 * 6000 * 6000)
    save(ds, large)
    process, port = own_process(config, "vmat_rt_service.network.node")
    before = psutil.Process(process.pid).memory_info().rss
    assert dcmtk("storescu", port, "-pdu", "131072", large).returncode == 0
    # VmHWM is the most it ever had
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]
    assert peak - before < 25e6
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PROMPT_SECONDS) == 0


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


def test_probes_of_the_port_take_no_association_away(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=1)) as port, ExitStack() as silent:
        for _ in range(40):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        wait_for(lambda: len(associations()) == 40)
        assert echoes(port)
        silent.close()
        wait_for(lambda: not associations(), PROMPT_SECONDS)


def test_an_association_that_has_ended_leaves_its_place_at_once(tmp_path: Path) -> None:
    with listening(node_config(tmp_path, max_associations=1)) as port:
        assert [echoes(port) for _ in range(10)] == [True] * 10


def associations() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "AcceptorThread" in thread.name]


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


def test_logs_say_who_called_and_nothing_of_the_patient(tmp_path: Path, study: Any) -> None:
    config = node_config(tmp_path)
    process, port = own_process(config, "vmat_rt_service.network.node", stderr=subprocess.PIPE)
    broken = tmp_path / "SENTINEL.dcm"
    with edited(study.ct_files[0], broken) as ds:
        del ds.StudyInstanceUID
    assert dcmtk("storescu", port, "-aet", "SCANNER", "-nh", study.structures_file, broken).returncode != -1
    process.stdin.close()  # type: ignore[union-attr]
    log = process.stderr.read().decode()  # type: ignore[union-attr]
    assert process.wait(PROMPT_SECONDS) == 0
    found = [json.loads(line) for line in log.splitlines()]
    assert {"received", "object refused"} <= {line["event"] for line in found}
    assert all(line["caller"] == "SCANNER" for line in found if "caller" in line)
    assert "SENTINEL" not in log
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", log.replace("127.0.0.1", "")), "a UID"
    assert str(tmp_path) not in log


def own_process(config: Any, module: str, **popen: Any) -> tuple[subprocess.Popen[bytes], int]:
    """The node as the supervisor runs it, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(config.model_dump_json().encode() + b"\n")
    process.stdin.flush()
    return process, int(json.loads(process.stdout.readline())["listening"])


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


def test_a_node_that_dies_is_started_again_and_ends_with_the_service(tmp_path: Path) -> None:
    port = free_port()
    listener = Listener(node_config(tmp_path, port=port))
    listener.start()
    try:
        wait_for(lambda: echoes(port))
        assert listener.child is not None
        os.kill(listener.child.pid, signal.SIGKILL)
        wait_for(lambda: listener.child is not None and not listener.child.alive())
        assert not echoes(port)
        begun = time.monotonic()
        listener.step(begun)
        listener.step(begun + 1)
        assert listener.child is None, "not at once: what killed it could kill it again and again"
        listener.step(begun + 60)
        wait_for(lambda: echoes(port))
    finally:
        listener.stop()
    assert not echoes(port)
