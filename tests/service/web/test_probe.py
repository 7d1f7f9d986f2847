"""The probe against a running server: silent and 0 when all is well, else what is wrong and 1."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port
from tests.service.pages import TOKEN, Served
from vmat_rt_service.web.access import TOKEN_VARIABLE
from vmat_rt_service.web.probe import main


def test_all_is_well(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(served.server.port)]) == 0
    assert capsys.readouterr().out == ""


def test_what_fails_is_said(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served.config.inbox.rmdir()
    assert main([str(served.server.port)]) == 1
    assert "the inbox is gone" in capsys.readouterr().out


def test_it_shows_the_token(
    guarded: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(guarded.server.port)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert main([port]) == 1
    assert capsys.readouterr().out == "the service answers 401\n"
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert main([port]) == 0


def test_a_proxy_is_not_asked(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert main([str(served.server.port)]) == 0


def test_nobody_there_is_a_sentence_and_exit_code_1() -> None:
    command = [sys.executable, "-m", "vmat_rt_service.web.probe", str(free_port())]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert run.returncode == 1
    assert run.stdout.startswith("the service does not answer: ")
    assert run.stderr == ""
