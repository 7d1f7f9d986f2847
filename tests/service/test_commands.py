"""The commands of the service, as a user types them.

Covers vmat_rt.commands.audit, vmat_rt.commands.jobs, vmat_rt.commands.replay and vmat_rt.commands.watch.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.dicom_phantom import cut_short, write_study
from tests.patience import PATIENCE_SECONDS, wait_for
from tests.ports import free_port
from tests.service.conftest import Site
from vmat_rt.cli import main
from vmat_rt.errors import ConfigError
from vmat_rt_service.config import ListenConfig, load_config

EXAMPLE = Path(__file__).resolve().parents[2] / "service" / "config.example.yaml"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_watch_once_jobs_and_retry(site: Site) -> None:
    study = write_study(site.inbox / "bad", seed="bad")
    cut_short(study.ct_files[0], 500)
    late = write_study(site.inbox / "late", seed="late", patient="LATE")
    late.ct_files[5].unlink()
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    code, text = run("jobs", "--state", str(site.config.state))
    assert code == 0
    assert "DICOM_TRUNCATED: see refused/case-" in text
    assert "waiting for 1 of 11 CT slices (z = -16.5 mm)" in text
    code, text = run("jobs", "--state", str(site.outbox), "--json")  # the outbox will do
    (refused,) = [job for job in json.loads(text)["jobs"] if job["state"] == "refused"]
    assert run("jobs", "retry", str(refused["id"]), "--state", str(site.config.state))[0] == 0
    assert run("jobs", "--state", str(site.config.state), "retry", "99")[0] == 2
    (waiting,) = [job.id for job in site.jobs() if "slices" in job.reason]
    assert run("jobs", "--state", str(site.config.state), "retry", str(waiting))[0] == 2


def test_a_folder_that_is_no_state_folder(tmp_path: Path) -> None:
    for command in (["jobs"], ["audit", "verify"], ["replay", "1"]):
        code, _ = run(*command, "--state", str(tmp_path))
        assert code == 2


def test_a_missing_inbox_is_named(tmp_path: Path) -> None:
    code, text = run("watch", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--once")
    assert code == 2
    assert "there is no inbox" in text


def test_configuration_names_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("inbox: in\noutbox: out\nworker: 3\nscan_seconds: -1\n")
    with pytest.raises(ConfigError, match=r"worker: .*; .*|scan_seconds: .*") as caught:
        load_config(file)
    assert "scan_seconds" in str(caught.value)
    file.write_text("inbox: in\noutbox: out\nafter_success: archive\n")
    with pytest.raises(ConfigError, match="needs `archive`"):
        load_config(file)
    with pytest.raises(ConfigError, match="inbox"):
        load_config(None, inbox=tmp_path, outbox=tmp_path)


def test_folders_are_relative_to_the_file_and_options_win(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("inbox: in\noutbox: out\nworkers: 2\n")
    config = load_config(tmp_path / "c.yaml", outbox=tmp_path / "other", state=None)
    assert (config.inbox, config.outbox, config.workers) == (tmp_path / "in", tmp_path / "other", 2)
    assert config.state == tmp_path / "other" / ".vmat-rt"


def test_the_example_names_every_setting_with_its_default() -> None:
    example = load_config(EXAMPLE)
    plain = load_config(None, inbox=example.inbox, outbox=example.outbox, state=example.state)
    assert example == plain
    text = EXAMPLE.read_text()
    assert not [name for name in type(example).model_fields if f"{name}:" not in text]


def test_a_command_that_a_page_suggests_works_when_it_is_pasted(site: Site) -> None:
    """Into a shell, from any folder, with a state folder that a shell would take apart."""
    cut_short(write_study(site.inbox / "bad", seed="bad").ct_files[0], 500)
    site.reconfigure(state=site.root / "state of 'it'")
    assert site.watch("--once").wait(PATIENCE_SECONDS) == 0
    (page,) = site.outbox.glob("refused/*/reason.html")
    (command,) = re.findall(r"<code>(vmat-rt [^<]+)</code>", page.read_text())
    command = html.unescape(command).replace("vmat-rt ", f"{sys.executable} -m vmat_rt.cli ", 1)
    pasted = subprocess.run(command, shell=True, cwd="/", capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert pasted.returncode == 0, pasted.stderr
    assert "runs again" in pasted.stdout


def test_the_port_of_the_page_is_an_option_and_its_address_is_logged(site: Site) -> None:
    port = free_port()
    site.reconfigure(web=site.config.web.model_copy(update={"enabled": True}))
    service = site.watch("--port", str(port))
    try:
        wait_for(lambda: any(line["event"] == "web listening" for line in site.log()))
    finally:
        service.terminate()
        service.wait(PATIENCE_SECONDS)
    (line,) = [line for line in site.log() if line["event"] == "web listening"]
    assert line["address"] == f"http://127.0.0.1:{port}/"


def test_a_node_that_anybody_could_reach_is_refused_at_the_start(site: Site) -> None:
    site.reconfigure(listen=ListenConfig(host="0.0.0.0", port=0))
    assert site.watch().wait(PATIENCE_SECONDS) == 2
    assert "listen.allowed_callers" in (site.root / "log.jsonl").read_text()
