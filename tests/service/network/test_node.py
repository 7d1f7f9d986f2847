"""The DICOM node against dcmtk's programs and against peers that misbehave."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from pathlib import Path
from typing import Any

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

from tests.dicom_phantom import edited, write_study
from tests.patience import PROMPT_SECONDS
from tests.service.peers import (
    CT,
    associated,
    dcmtk,
    echoes,
    events,
    hidden,
    listening,
    node_config,
    own_process,
    same_content,
    store,
    visible,
)
from vmat_rt_service.network.node import SYNTAXES
from vmat_rt_service.network.received import Status


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
