"""A real Orthanc on both sides: it sends a study to our node, and finds the predicted dose in its own store."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom

from tests.dicom_phantom import write_study
from tests.external import program
from tests.patience import PATIENCE_SECONDS, wait_for
from tests.ports import free_port
from tests.service.conftest import Site
from tests.service.peers import answers
from vmat_rt_service.config import Destination, ListenConfig


class Orthanc:
    """Its REST interface."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        with self._opener.open(self._root + path, timeout=30) as answer:
            return json.load(answer)

    def file(self, instance: str) -> bytes:
        with self._opener.open(f"{self._root}/instances/{instance}/file", timeout=30) as answer:
            return bytes(answer.read())

    def post(self, path: str, content: bytes) -> Any:
        request = urllib.request.Request(self._root + path, content, {"Content-Type": "application/dicom"})
        with self._opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def instances(self, modality: str) -> list[str]:
        found = self.post(
            "/tools/find", json.dumps({"Level": "Series", "Query": {"Modality": modality}, "Expand": True}).encode()
        )
        return [instance for series in found for instance in series["Instances"]]


@contextlib.contextmanager
def running(folder: Path, dicom_port: int, node_port: int) -> Iterator[Orthanc]:
    folder.mkdir()
    http_port = free_port()
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"vmat-rt": ["VMATRT", "127.0.0.1", node_port]},
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program("Orthanc"), str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder
        )
    try:
        answers(http_port, 60)
        yield Orthanc(http_port)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_a_study_goes_from_orthanc_through_the_service_and_back(site: Site, tmp_path: Path) -> None:
    node_port, dicom_port = free_port(), free_port()
    site.reconfigure(
        listen=ListenConfig(
            port=node_port, host="127.0.0.1", allowed_callers=("ORTHANC",), allowed_hosts=("127.0.0.1",)
        ),
        destinations=(
            Destination(
                name="orthanc", host="127.0.0.1", port=dicom_port, ae_title="ORTHANC", send=("rtplan", "rtdose")
            ),
        ),
        web=site.config.web.model_copy(update={"enabled": False}),
    )
    phantom = write_study(tmp_path / "study", seed="orthanc", patient="SENTINEL")
    with running(tmp_path / "orthanc", dicom_port, node_port) as orthanc:
        for path in sorted(phantom.folder.rglob("*.dcm")):
            orthanc.post("/instances", path.read_bytes())
        (study,) = orthanc.get("/studies")
        service = site.watch()
        try:
            answers(node_port, 30)
            sent = orthanc.post("/modalities/vmat-rt/store", study.encode())
            assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (12, 0)
            wait_for(lambda: orthanc.instances("RTDOSE"))
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE_SECONDS) == 0
        (dose,) = orthanc.instances("RTDOSE")
        (plan,) = orthanc.instances("RTPLAN")
        (tmp_path / "dose.dcm").write_bytes(orthanc.file(dose))
        (tmp_path / "plan.dcm").write_bytes(orthanc.file(plan))
        (study_again,) = orthanc.get("/studies")
        assert study_again == study, "the dose is filed in the patient's own study"
    (folder,) = site.results()
    found, made = pydicom.dcmread(tmp_path / "dose.dcm"), pydicom.dcmread(folder / "rtdose.dcm")
    assert found.PixelData == made.PixelData
    assert found.DoseGridScaling == made.DoseGridScaling
    assert found.StudyInstanceUID == phantom.options.uid("study")
    assert found.FrameOfReferenceUID == phantom.grid.frame_uid
    referenced = found.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID
    assert pydicom.dcmread(tmp_path / "plan.dcm").SOPInstanceUID == referenced
    log = (site.root / "log.jsonl").read_text()
    assert "SENTINEL" not in log
    others = log.replace("127.0.0.1", "")  # the status page's own place
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", others), "a UID or an address"
    assert [line["caller"] for line in site.log() if line["event"] == "received"] == ["ORTHANC"]
