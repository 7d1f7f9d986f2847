"""The chain of the audit log, and a job computed again.

Covers vmat_rt_service.work.replay.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.dicom_phantom import write_study
from tests.service.conftest import Site
from vmat_rt.errors import ConfigError, InputError
from vmat_rt_service.journal import audit
from vmat_rt_service.work.replay import replay


def filled(site: Site, count: int = 4) -> list[bytes]:
    for number in range(count):
        audit.append(site.config, site.journal, "done", job=number, content_hash="c")
    return site.config.audit.read_bytes().splitlines(keepends=True)


def verdict(site: Site) -> audit.Verification:
    return audit.verify(site.config.audit, audit.read_head(site.journal))


def test_a_chain_holds(site: Site) -> None:
    filled(site)
    assert verdict(site) == audit.Verification(4)


@pytest.mark.parametrize("fault", ["changed", "removed", "inserted", "swapped", "shortened", "emptied"])
def test_every_kind_of_change_is_found(site: Site, fault: str) -> None:
    lines = filled(site)
    if fault == "changed":
        lines[1] = lines[1].replace(b'"job": 1', b'"job": 7')
    elif fault == "removed":
        del lines[2]
    elif fault == "inserted":
        lines.insert(2, lines[1])
    elif fault == "swapped":
        lines[1], lines[2] = lines[2], lines[1]
    elif fault == "shortened":
        del lines[3]
    else:
        lines = []
    site.config.audit.write_bytes(b"".join(lines))
    assert verdict(site).fault


def test_a_tail_that_was_cut_off_stays_found_after_more_lines(site: Site) -> None:
    lines = filled(site)
    site.config.audit.write_bytes(b"".join(lines[:2]))
    audit.append(site.config, site.journal, "done", job=9, content_hash="c")
    assert verdict(site).fault == "lines before line 3 are missing"


def test_half_a_line_of_a_killed_writer_is_mended(site: Site) -> None:
    filled(site)
    with site.config.audit.open("ab") as stream:
        stream.write(b'{"at": "20')
    audit.append(site.config, site.journal, "done", job=9, content_hash="c")
    assert verdict(site) == audit.Verification(5)


def test_verify_as_a_command(site: Site) -> None:
    filled(site)
    command = [sys.executable, "-m", "vmat_rt.cli", "audit", "verify", "--state", str(site.config.state), "--json"]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["lines"] == 4
    site.config.audit.write_bytes(site.config.audit.read_bytes().replace(b'"job": 1', b'"job": 2'))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 4


def test_a_done_job_is_computed_again_bit_for_bit(site: Site) -> None:
    write_study(site.inbox / "a", seed="again", plan=True, dose=True)
    site.take_in()
    site.work()
    (job,) = site.jobs()
    shutil.move(site.inbox / "a" / "CT", site.inbox / "elsewhere")  # found by content, not by name
    found = replay(site.config, job.id)
    assert found.same
    assert found.changed_versions == ()
    next(site.inbox.rglob("*.dcm")).unlink()
    with pytest.raises(InputError, match="INPUTS_GONE"):
        replay(site.config, job.id)
    with pytest.raises(ConfigError, match="no job 99"):
        replay(site.config, 99)


def test_a_changed_model_is_named(site: Site) -> None:
    write_study(site.inbox, seed="model")
    site.take_in()
    site.work()
    other = site.root / "other"
    shutil.copytree(site.config.model or "", other)
    manifest = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps({**manifest, "version": "2"}))
    site.reconfigure(model=str(other))
    with pytest.raises(ConfigError, match="tiny 1, which is not the tiny 2"):
        replay(site.config, site.jobs()[0].id)
