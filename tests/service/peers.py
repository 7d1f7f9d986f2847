"""The other side of the DICOM network: dcmtk's programs, a node of ours, certificates, and a sender that misbehaves."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from tests.external import program
from tests.patience import PATIENCE_SECONDS
from tests.service.conftest import Site
from vmat_rt_service.config import Destination, ServiceConfig, load_config
from vmat_rt_service.network.node import Node

CT = (CTImageStorage, ExplicitVRLittleEndian)
"""What most tests send."""


def node_config(root: Path, **listen: Any) -> ServiceConfig:
    """A configuration that listens on loopback, on a port of the system's choice."""
    (root / "inbox").mkdir(exist_ok=True)
    options = {"port": 0, "host": "127.0.0.1", **listen}
    return load_config(None, inbox=root / "inbox", outbox=root / "outbox", listen=options, min_free_gb=0.0)


@contextlib.contextmanager
def listening(config: ServiceConfig) -> Iterator[int]:
    """A node in this process; its port."""
    node = Node(config)
    try:
        yield node.start()
    finally:
        node.stop()


def dcmtk(name: str, port: int, *arguments: str | Path, called: str = "VMATRT") -> subprocess.CompletedProcess[str]:
    """echoscu or storescu against a port of this machine."""
    command = [program(name), "-v", "-to", "10", "-aec", called, *map(str, arguments), "127.0.0.1", str(port)]
    if name == "storescu":
        files = [str(argument) for argument in arguments if isinstance(argument, Path)]
        options = [str(argument) for argument in arguments if not isinstance(argument, Path)]
        command = [program(name), "-v", "-to", "10", "-aec", called, *options, "127.0.0.1", str(port), *files]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def echoes(port: int, *arguments: str | Path, called: str = "VMATRT") -> bool:
    return dcmtk("echoscu", port, *arguments, called=called).returncode == 0


@contextlib.contextmanager
def associated(
    port: int, *contexts: tuple[str, str], title: str = "TESTS", host: str = "127.0.0.1"
) -> Iterator[Association]:
    """An association with a node of ours for (SOP class, transfer syntax)."""
    entity = AE(title)
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", port, ae_title="VMATRT", bind_address=(host, 0))
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def store(association: Association, dataset: Dataset) -> int:
    """The status that a C-STORE is answered with."""
    return int(association.send_c_store(dataset).Status)


def request(sop_class: str, instance: str, content: bytes) -> C_STORE:
    """A C-STORE of any bytes under any name."""
    made = C_STORE()
    made.MessageID, made.Priority = 7, 2
    made.AffectedSOPClassUID, made.AffectedSOPInstanceUID = sop_class, instance
    made.DataSet = BytesIO(content)
    return made


def store_raw(association: Association, sop_class: str, instance: str, content: bytes) -> int:
    """Send bytes that pynetdicom itself would not send; the status of the answer."""
    context = association.accepted_contexts[0]
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request(sop_class, instance, content), int(context.context_id or 0))
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert answer is not None, "the association did not survive"
    return int(answer.Status)


@contextlib.contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[Path]:
    """dcmtk's storescp writing below `folder`; yields its log."""
    folder.mkdir(exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    with log.open("a") as stream:
        command = [program("storescp"), "-v", "-aet", "PACS", "-od", str(folder), *options, str(port)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        answers(port)
        yield log
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def answers(port: int, seconds: float = 20.0) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        assert time.monotonic() < deadline, "nothing listens"
        time.sleep(0.05)


def modalities(log: Path) -> list[str]:
    """What a storescp was sent, in order: RP, RD, RS, CT."""
    lines = [line for line in log.read_text().splitlines() if "Received Store Request" in line]
    return [line.rpartition(",")[2].strip(" )") for line in lines]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    certificate_file, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate_file)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate_file, key


def visible(inbox: Path) -> list[Path]:
    """The files that anything but the node can see."""
    return sorted(p for p in inbox.rglob("*") if p.is_file() and not any(q.startswith(".") for q in p.parts))


def hidden(inbox: Path) -> list[Path]:
    """What lies half received."""
    return sorted(p for p in inbox.rglob("*") if p.is_file() and any(q.startswith(".") for q in p.parts))


def same_content(stored: Path, sent: Path) -> bool:
    return bool(pydicom.dcmread(stored) == pydicom.dcmread(sent))


def events(caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    return {record.msg: record.fields for record in caplog.records if record.name == "vmat_rt_service"}  # type: ignore[attr-defined]


def encoded(ds: pydicom.Dataset) -> bytes:
    """A dataset in explicit VR little endian, without file meta information."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return bytes(stream.getvalue())


def associations() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "AcceptorThread" in thread.name]


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


def destination(port: int, *send: str, **more: Any) -> Destination:
    return Destination(name="pacs", host="127.0.0.1", port=port, ae_title="PACS", send=send or ("rtdose",), **more)


# ---- the program


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmat_rt.cli", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def jobs(site: Site) -> str:
    return run("jobs", "--state", site.config.state).stdout
