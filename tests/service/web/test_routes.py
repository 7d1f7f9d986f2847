"""Published pages are served as they are, and no other path leads anywhere.

Covers vmat_rt_service.outbox.published, which finds the pages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.pages import Served
from vmat_rt_service.journal.jobs import Journal


def test_reports_and_reasons_are_served_as_they_are(served: Served) -> None:
    report = served.get("/reports/case-done0/report.html")
    assert report.status == 200
    assert report.body == (served.config.outbox / "case-done0" / "report.html").read_bytes()
    assert "sandbox allow-scripts" in report.headers["Content-Security-Policy"]
    assert "allow-same-origin" not in report.headers["Content-Security-Policy"]
    assert "6 mm apart" in served.get("/refused/case-refused/reason.html").text


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../report.html",
        "/reports/%2e%2e/report.html",
        "/reports/..%2f..%2fsecret/report.html",
        "/reports/case-done0/../../secret/report.html",
        "/reports/case-done0/rtdose.dcm",
        "/reports/case-done0/report.html/",
        "/reports/case-done0%00/report.html",
        "/reports//report.html",
        "/reports/.vmat-rt/report.html",
        "/reports/.vmat-rt/journal.sqlite",
        "/reports/unknown/report.html",
        "/reports/case-linked/report.html",
        "/reports/case-failed/report.html",
        "/reports/case-ready/report.html",
        "/refused/../case-done0/reason.html",
        "/refused/case-refused/reason.json",
        "/etc/passwd",
        "//etc/passwd",
        "/../../../../etc/passwd",
        "http://elsewhere.example/",
        "/jobs/1/..",
        "/jobs/-1",
        "/jobs/%C2%B2",
        "/jobs/99999999999999999999",
        "/static/status.css",
    ],
)
def test_no_other_path_leads_anywhere(served: Served, tmp_path: Path, path: str) -> None:
    outbox = served.config.outbox
    for folder in (tmp_path / "secret", outbox / ".vmat-rt", outbox / "unknown"):
        folder.mkdir(exist_ok=True)
        (folder / "report.html").write_text("SECRET")
    (outbox / "report.html").write_text("SECRET")
    # Known to the journal, but a link out of the outbox: a folder, a page, and a page that is a folder.
    (outbox / "case-linked").symlink_to(tmp_path / "secret")
    (outbox / "case-failed").mkdir()
    (outbox / "case-failed" / "report.html").symlink_to(tmp_path / "secret" / "report.html")
    (outbox / "case-ready" / "report.html").mkdir(parents=True)
    journal = Journal(served.config.journal)
    journal.receive("linked", "case-linked", "", "x")
    journal.close()
    reply = served.get(path)
    assert reply.status == (421 if "elsewhere" in path else 404)
    assert b"SECRET" not in reply.body
    assert b"root:" not in reply.body


def test_a_result_can_be_taken_along_and_nothing_else(served: Served) -> None:
    reply = served.get("/downloads/case-done0/rtdose.dcm")
    assert (reply.status, reply.body) == (200, b"dose")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="case-done0-rtdose.dcm"'
    assert reply.headers["Content-Type"] == "application/dicom"


@pytest.mark.parametrize(
    "path",
    [
        "/downloads/case-done0/job.json",
        "/downloads/case-done0/../case-done1/rtdose.dcm",
        "/downloads/case-done0/rtdose.dcm/",
        "/downloads/unknown/rtdose.dcm",
        "/downloads/.vmat-rt/journal.sqlite",
        "/downloads/case-done0/rtplan.dcm",
    ],
)
def test_no_other_download_is_there(served: Served, path: str) -> None:
    for folder in ("unknown", ".vmat-rt"):
        (served.config.outbox / folder).mkdir(exist_ok=True)
        (served.config.outbox / folder / "rtdose.dcm").write_text("SECRET")
    (served.config.outbox / "case-done0" / "job.json").write_text("SECRET")
    reply = served.get(path)
    assert reply.status == 404
    assert b"SECRET" not in reply.body
