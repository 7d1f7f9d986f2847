"""What the node refuses, and that nothing half received is seen, kept or grows."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
import tracemalloc
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom.dimse_messages import C_STORE_RQ

from tests.dicom_phantom import save
from tests.patience import PATIENCE_SECONDS, PROMPT_SECONDS, wait_for
from tests.service.attackers import object_around, sequence
from tests.service.peers import (
    CT,
    associated,
    dcmtk,
    encoded,
    hidden,
    listening,
    node_config,
    own_process,
    request,
    store,
    store_raw,
    visible,
)
from vmat_rt_service.intake.inbox import Inbox
from vmat_rt_service.network.received import Announced, RefusalError, Shelf, Status


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


@pytest.mark.parametrize("length", [0xFFFFFFFF, 8 * 1_500_000], ids=["undefined length", "stated length"])
@pytest.mark.parametrize("place", ["before the study's UID", "after it"])
def test_a_million_empty_items_are_refused_wherever_they_stand(tmp_path: Path, place: str, length: int) -> None:
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 1_500_000
    if place == "after it":
        content = object_around("1.2.3", b"", sequence(0x3006, 0x39, items, length))
    else:
        content = object_around("1.2.3", sequence(8, 0x1140, items, length))
    arrival = Shelf(tmp_path, 10**9, 0).expect(Announced(CTImageStorage, "1.2.3", ExplicitVRLittleEndian))
    arrival.write(content)
    tracemalloc.start()
    with pytest.raises(RefusalError) as told:
        arrival.keep()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.value.code == "TOO_COMPLEX"
    assert peak < 10e6
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
