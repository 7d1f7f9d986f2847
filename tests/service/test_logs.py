"""Log lines: only fields that are on the list, our own words, and nothing that an exception or a library quotes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from vmat_rt_service.logs import FIELDS, JsonLines, crash, event


def line(record: logging.LogRecord) -> dict[str, object]:
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


@pytest.mark.parametrize("field", ["path", "patient", "uid", "roi", "text"])
def test_a_field_that_is_not_on_the_list_is_a_mistake(field: str) -> None:
    assert field not in FIELDS
    with pytest.raises(ValueError, match=field):
        event("done", **{field: "x"})


def test_an_event_says_its_fields_and_leaves_out_what_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    event("done", job=3, key="case-1", code=None)
    (record,) = caplog.records
    found = line(record)
    assert found.pop("time")
    assert found == {"level": "info", "event": "done", "job": 3, "key": "case-1"}


def test_a_crash_says_what_and_where_but_not_the_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmat_rt_service")
    try:
        raise ValueError("SENTINEL^NAME in /data/SENTINEL.dcm")
    except ValueError as error:
        crash("reader failed", error, job=3, path="/data/SENTINEL")
    (record,) = caplog.records
    found = line(record)
    assert (found["event"], found["error"], found["job"]) == ("reader failed", "ValueError", 3)
    assert str(found["where"]).startswith("['test_logs.py:")
    assert "SENTINEL" not in json.dumps(found)


def test_records_of_others_are_reduced_to_where_they_come_from() -> None:
    record = logging.LogRecord("pydicom", logging.WARNING, "/x/reader.py", 7, "read %s", ("SENTINEL",), None)
    found = line(record)
    assert (found["event"], found["logger"], found["where"]) == ("library", "pydicom", "reader:7")
    assert "SENTINEL" not in json.dumps(found)


def test_a_process_logs_in_lines_and_what_libraries_print_is_gone() -> None:
    program = (
        "import os, warnings\n"
        "from vmat_rt_service import logs\n"
        "logs.start_logging(); logs.silence_libraries()\n"
        "print('SENTINEL'); os.write(1, b'SENTINEL'); os.write(2, b'SENTINEL')\n"
        "warnings.warn('SENTINEL')\n"
        "logs.event('started', count=2)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    lines = [json.loads(text) for text in run.stderr.splitlines()]
    assert [found["event"] for found in lines] == ["library", "started"]
    assert "SENTINEL" not in run.stdout + run.stderr
