"""Sentinels in every identifying field and name; none may leave through logs, journal, audit log or printed errors."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pydicom

from tests.dicom_phantom import Drawn, cut_short, default_rois, disc, write_study
from tests.patience import PATIENCE_SECONDS
from tests.service.conftest import Site
from vmat_rt.grid import Grid

NAME, BIRTH = "Zyxwvu^Quentina", "19370419"
IDENTITY = ("Zyxwvu", "Quentina", "PIDSENTINEL", BIRTH)
SECRETS = (*IDENTITY, "SENTINEL", "1.2.826.0.1.3680043.8.498", "20200102", "PTV_7000", "Rectum", "folder ü")
TEXTS = ("StudyDescription", "SeriesDescription", "AccessionNumber", "ReferringPhysicianName", "InstitutionName",
         "StationName", "OperatorsName", "StudyID", "PatientComments", "ProtocolName", "RequestedProcedureDescription",
         "OtherPatientIDs", "PatientAddress", "StructureSetLabel")  # fmt: skip


def plant(folder: Path) -> None:
    """Put sentinels into every file below `folder` that pydicom can read, and into the files' names."""
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        with contextlib.suppress(Exception):
            ds = pydicom.dcmread(path)
            ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, "PIDSENTINEL", BIRTH
            for keyword in TEXTS:
                setattr(ds, keyword, "SENTINEL")
            ds.save_as(path)
        path.rename(path.with_name(f"Zyxwvu SENTINEL {number}.dcm"))


def studies(inbox: Path) -> None:
    """One that is done, one refused for each of several reasons, one that waits, one damaged, one without CT."""
    root = inbox / "Quentina folder ü"
    write_study(root / "done", seed="done", plan=True, dose=True)
    p = write_study(root / "waiting", seed="waiting")
    p.ct_files[4].unlink()
    cut_short(write_study(root / "cut", seed="cut").structures_file, 600)
    grid = Grid((11, 40, 52), (3.0, 2.5, 2.0), (-31.5, -47.3, -55.7), "1.2")
    target, _, rectum, *_ = default_rois(grid)
    twice = Drawn("Enddarm", 9, {z: [disc(0, 0, 5)] for z in rectum.planes})
    write_study(root / "names", seed="names", rois=(target, rectum, twice))
    write_study(root / "no target", seed="none", rois=(rectum,))
    for path in list(root.rglob("*.dcm")):
        assert path.exists()
    write_study(root / "no ct", seed="no ct", ct=False)
    (root / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\0\x05\0CS" + NAME.encode())
    plant(root)


def test_no_sentinel_leaves(site: Site) -> None:
    studies(site.inbox)
    site.reconfigure(patience_minutes=0.0)
    service = site.watch("--once", stdout=(site.root / "stdout").open("wb"))
    assert service.wait(PATIENCE_SECONDS) == 0
    listed = subprocess.run(
        [sys.executable, "-m", "vmat_rt.cli", "jobs", "--state", str(site.config.state), "--json"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert sorted(set(site.states())) == ["done", "quarantined", "refused"]
    site.journal.set_meta("checkpoint", "now")
    state = site.config.state
    files = [path for path in state.iterdir() if path.is_file() and path.name != "service.json"]
    written = {path.name: path.read_bytes() for path in files}
    assert {"journal.sqlite", "audit.jsonl"} <= set(written)
    assert b"case-" in written["audit.jsonl"]
    written |= {"log": (site.root / "log.jsonl").read_bytes(), "stdout": (site.root / "stdout").read_bytes()}
    written |= {"jobs": listed.stdout, "jobs errors": listed.stderr}
    assert b"waiting for 1 of 11 CT slices" in listed.stdout
    for name, content in written.items():
        found = [secret for secret in SECRETS if secret.encode() in content]
        assert not found, f"{name} holds {found}"


def test_reasons_name_the_roi_but_not_the_patient(site: Site) -> None:
    studies(site.inbox)
    site.take_in()
    site.work()
    reasons = [path.read_text() for path in site.outbox.glob("refused/*/*")]
    assert len(reasons) >= 8
    assert any("Rectum" in text for text in reasons)
    for text in reasons:
        assert not [secret for secret in IDENTITY if secret.lower() in text.lower()]


def test_a_worker_that_fails_says_nothing_of_the_file(site: Site) -> None:
    studies(site.inbox)
    site.reconfigure(protocol="/nowhere/Zyxwvu.yaml")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    log = (site.root / "log.jsonl").read_text()
    assert "failed" in site.states()
    assert not [secret for secret in SECRETS if secret in log]


def test_a_warning_of_a_library_is_a_line_without_its_text() -> None:
    code = "import warnings; from vmat_rt_service import logs; logs.start_logging(); warnings.warn('of Sentinel^Name')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, run.stderr.splitlines())
    assert (line["event"], line["logger"]) == ("library", "py.warnings")
    assert "Sentinel" not in run.stderr
