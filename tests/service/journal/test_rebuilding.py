"""A damaged journal is kept aside and made again from the audit log; a forged or torn log is said.

Covers vmat_rt_service.journal.rows and vmat_rt_service.doctor.records.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

from tests.dicom_phantom import write_study
from tests.service.conftest import Site
from vmat_rt_service.doctor.records import check_records
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.jobs import Journal
from vmat_rt_service.journal.rebuilding import find_fault, open_journal, rebuild


def done(site: Site) -> None:
    write_study(site.inbox, seed="rebuilt")
    site.take_in()
    site.work()
    assert site.states() == ["done"]


def damage(site: Site) -> None:
    site.journal.close()
    for path in site.config.state.glob("journal.sqlite-*"):
        path.unlink()
    content = bytearray(site.config.journal.read_bytes())
    content[:4096] = os.urandom(4096)
    site.config.journal.write_bytes(content)


def statuses(site: Site) -> dict[str, str]:
    return {finding.name: finding.status for finding in check_records(site.config)}


def test_jobs_results_and_inputs_come_back_and_nothing_is_done_twice(site: Site) -> None:
    done(site)
    (before,) = site.jobs()
    inputs = site.journal.list_inputs(before.id)
    damage(site)
    assert find_fault(site.config.journal)
    assert statuses(site)["journal"] == "fail"
    site.journal = open_journal(site.config)
    (job,) = site.jobs()
    assert (job.id, job.key, job.content_hash, job.state) == (before.id, before.key, before.content_hash, before.state)
    assert site.journal.list_inputs(job.id) == inputs
    site.take_in()
    site.work()
    assert site.states() == ["done"]
    assert len(site.results()) == 1
    assert len(list(site.config.state.glob("journal.sqlite.damaged-*"))) == 1
    assert audit.verify(site.config.audit, audit.read_head(site.journal)).fault == ""
    assert "fail" not in statuses(site).values()


def test_lines_that_no_key_made_are_not_believed(site: Site) -> None:
    done(site)
    entry = json.loads(site.config.audit.read_bytes().splitlines()[-1])
    forged = {**entry, "job": 7, "content_hash": "f" * 64, "previous": entry["hash"]}
    forged["hash"] = audit._hash({name: value for name, value in forged.items() if name != "hash"})
    with site.config.audit.open("ab") as log:
        log.write(json.dumps(forged, sort_keys=True).encode() + b"\n")
    assert "not written by this service" in audit.verify(site.config.audit, audit.read_head(site.journal)).fault
    assert statuses(site)["audit"] == "fail"
    site.journal.close()
    assert rebuild(site.config).jobs == 1


def test_a_damaged_last_line_is_moved_away_and_said(site: Site) -> None:
    done(site)
    lines = site.config.audit.read_bytes().splitlines(keepends=True)
    site.config.audit.write_bytes(b"".join(lines[:-1]) + b"\x00" * 400 + b"\n")
    audit.append(site.config, site.journal, "done", job=9, content_hash="c")
    assert (site.config.state / audit.DAMAGED).read_bytes().startswith(b"\x00")
    assert "missing" in audit.verify(site.config.audit, audit.read_head(site.journal)).fault


def test_the_command_says_what_it_found(site: Site) -> None:
    done(site)
    damage(site)
    listing = [sys.executable, "-m", "vmat_rt.cli", "jobs", "--state", str(site.config.state)]
    refused = subprocess.run(listing, capture_output=True, check=False, text=True)
    assert (refused.returncode, "jobs rebuild --state" in refused.stderr) == (2, True)
    command = [sys.executable, "-m", "vmat_rt.cli", "jobs", "rebuild", "--state", str(site.config.state), "--json"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (answer["jobs"], answer["results_absent"]) == (1, [])
    site.journal = Journal(site.config.journal)


def test_journal_log_and_secret_are_their_owners_only(site: Site) -> None:
    done(site)
    for path in (site.config.journal, site.config.audit, site.config.state / "secret.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert statuses(site)["rights"] == "warn", "the test made the state folder itself"
    site.config.state.chmod(0o700)
    assert statuses(site)["rights"] == "ok"
