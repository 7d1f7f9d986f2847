"""Retry, upload and lookup from a browser: only with the token, only from this page, and each in the audit log.

Covers vmat_rt_service.web.handler, which asks for the token, and vmat_rt_service.web.answers.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from urllib.parse import urlencode

import pytest

from tests.dicom_phantom import write_study
from tests.service.pages import TOKEN, Reply, Served
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State
from vmat_rt_service.web.access import make_access

FORM = "application/x-www-form-urlencoded"
Filled = tuple[ServiceConfig, dict[State, Job]]


def post(site: Served, path: str, content: bytes = b"", kind: str = FORM, **headers: str) -> Reply:
    """As a browser does that has the cookie, unless headers say otherwise."""
    access = make_access(site.config.web)
    sent = {"Cookie": f"vmat_rt_web={access.cookie}", **{n.replace("_", "-"): v for n, v in headers.items()}}
    return site.get(
        path, "POST", content=content, **sent, **{"Content-Type": kind, "Content-Length": str(len(content))}
    )


def form_key(site: Served) -> str:
    """The key as a form of the page carries it."""
    page = site.get("/upload", Authorization=f"Bearer {TOKEN}").text
    return re.search(r'name="form" value="(\w+)"', page)[1]  # type: ignore[index]


def audited(site: Served) -> list[dict[str, object]]:
    path = site.config.audit
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def state_of(site: Served, job: int) -> State:
    journal = Journal(site.config.journal)
    found = journal.find_job(job)
    journal.close()
    assert found is not None
    return found.state


def test_retry_runs_a_refused_study_again_and_is_audited(guarded: Served, filled: Filled) -> None:
    number = filled[1][State.REFUSED].id
    reply = post(guarded, f"/jobs/{number}/retry", urlencode({"form": form_key(guarded)}).encode())
    assert (reply.status, reply.headers["Location"]) == (303, f"/jobs/{number}")
    assert state_of(guarded, number) is State.RECEIVING
    (line,) = audited(guarded)
    assert (line["event"], line["job"], line["by"]) == ("retried", number, "status page")


def test_what_cannot_be_run_again_is_said(guarded: Served, filled: Filled) -> None:
    done, key = filled[1][State.DONE].id, urlencode({"form": form_key(guarded)}).encode()
    reply = post(guarded, f"/jobs/{done}/retry", key)
    assert reply.status == 409
    assert f"Job {done} is done" in reply.text
    assert post(guarded, "/jobs/999/retry", key).status == 404
    assert audited(guarded) == []


@pytest.mark.parametrize(
    ("headers", "right_form", "status"),
    [
        ({"Cookie": ""}, True, 401),
        ({}, False, 400),
        ({"Sec_Fetch_Site": "cross-site"}, True, 403),
        ({"Sec_Fetch_Site": "same-site"}, True, 403),
        ({"Origin": "https://evil.example"}, True, 403),
        ({"Origin": "null"}, True, 403),
    ],
    ids=["no cookie", "a form of another page", "cross-site", "same-site", "another origin", "a sandbox"],
)
def test_another_site_changes_nothing(
    guarded: Served, filled: Filled, headers: dict[str, str], right_form: bool, status: int
) -> None:
    number = filled[1][State.REFUSED].id
    key = form_key(guarded) if right_form else "0" * 64
    assert post(guarded, f"/jobs/{number}/retry", urlencode({"form": key}).encode(), **headers).status == status
    assert state_of(guarded, number) is State.REFUSED
    assert audited(guarded) == []


def test_without_a_token_nothing_can_be_changed_and_no_form_is_shown(served: Served, filled: Filled) -> None:
    number = filled[1][State.REFUSED].id
    assert post(served, f"/jobs/{number}/retry", b"form=").status == 403
    for path in ("/", "/upload", f"/jobs/{number}"):
        assert 'method="post"' not in served.get(path).text
    assert "web.token" in served.get("/upload").text


def test_a_program_with_the_token_needs_no_form(guarded: Served, filled: Filled) -> None:
    number = filled[1][State.FAILED].id
    reply = post(guarded, f"/jobs/{number}/retry", Cookie="", Authorization=f"Bearer {TOKEN}")
    assert reply.status == 303
    assert state_of(guarded, number) is State.RECEIVING


def study_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("Doe^John/a.dcm", b"not read here")
    return stream.getvalue()


def test_a_zip_from_a_form_reaches_the_inbox_and_is_audited(guarded: Served) -> None:
    boundary = "xYz"
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="form"\r\n\r\n{form_key(guarded)}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="zip"; filename="Doe.zip"\r\n\r\n'
    ).encode()
    content = parts + study_zip() + f"\r\n--{boundary}--\r\n".encode()
    reply = post(guarded, "/upload", content, f"multipart/form-data; boundary={boundary}")
    assert reply.status == 200
    (file,) = [path for path in guarded.config.inbox.rglob("*") if path.is_file()]
    assert file.read_bytes() == b"not read here"
    assert file.parent.name in reply.text
    (line,) = audited(guarded)
    assert (line["event"], line["folder"], line["count"]) == ("uploaded", file.parent.name, 1)
    assert "Doe" not in json.dumps(line)


def test_an_upload_without_the_forms_key_leaves_nothing(guarded: Served) -> None:
    assert post(guarded, "/upload", study_zip(), "application/zip").status == 400
    assert post(guarded, "/upload", study_zip(), "application/zip", Authorization=f"Bearer {TOKEN}").status == 200


def test_whose_study_it_is_is_told_to_who_asks_and_kept_nowhere(guarded: Served) -> None:
    study = write_study(guarded.config.inbox / "Doe folder", patient="DOE^JANE")
    journal = Journal(guarded.config.journal)
    source = journal.digest("source", str(study.structures_file))
    job = journal.receive(source, "case-looked-up", "CT_INCOMPLETE", "waiting")
    journal.close()
    page = guarded.get(f"/jobs/{job.id}", Authorization=f"Bearer {TOKEN}").text
    assert "Doe folder" in page
    assert "JANE" not in page
    reply = post(guarded, f"/jobs/{job.id}/patient", urlencode({"form": form_key(guarded)}).encode())
    assert "DOE^JANE" in reply.text
    assert [line["event"] for line in audited(guarded)] == ["patient looked up"]
    assert all(b"JANE" not in path.read_bytes() for path in guarded.config.state.iterdir() if path.is_file())


def test_a_body_without_a_length_or_one_that_is_absurd_is_refused(guarded: Served) -> None:
    access = make_access(guarded.config.web)
    cookie = {"Cookie": f"vmat_rt_web={access.cookie}"}
    assert guarded.get("/upload", "POST", **cookie).status == 411
    assert guarded.get("/upload", "POST", **cookie, **{"Content-Length": "-1"}).status == 411
