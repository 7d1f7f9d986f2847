"""Who may read: off loopback nobody without the token, and no foreign name for loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.pages import TOKEN, Served, configured
from vmat_rt.errors import ConfigError
from vmat_rt_service.config import WebConfig
from vmat_rt_service.web.access import TOKEN_VARIABLE, make_access
from vmat_rt_service.web.health import Pulse
from vmat_rt_service.web.server import StatusServer


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "", "example.org"])
def test_off_loopback_it_does_not_start_without_a_token(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="token"):
        StatusServer(configured(tmp_path, web={"host": host}), Pulse())


def test_a_short_token_is_refused_and_a_long_one_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="5 characters"):
        StatusServer(configured(tmp_path, web={"host": "0.0.0.0", "token": "short"}), Pulse())
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert make_access(WebConfig(host="0.0.0.0", port=0)).token == TOKEN


PATHS = ["/", "/healthz", "/metrics", "/jobs/1", "/reports/case-done0/report.html", "/nope"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "vmat_rt_web=wrong"},
        {"Cookie": f"vmat_rt_web={TOKEN}"},
    ],
    ids=["nothing", "wrong bearer", "basic", "wrong cookie", "the token as cookie"],
)
@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_there_is_nothing(guarded: Served, path: str, headers: dict[str, str]) -> None:
    reply = guarded.get(path, **headers)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"case-" not in reply.body


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_token_in_the_address_opens_nothing(guarded: Served, path: str) -> None:
    assert guarded.get(f"{path}?token=wr%C3%B6ng").status == 401


def test_the_token_opens_by_header_or_once_by_address_and_then_by_cookie(guarded: Served) -> None:
    assert guarded.get("/healthz", Authorization=f"Bearer {TOKEN}").status == 200
    reply = guarded.get(f"/jobs/1?token={TOKEN.replace(' ', '%20')}")
    assert reply.status == 303
    assert reply.headers["Location"] == "/jobs/1", "the token leaves the address bar"
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/jobs/1", Cookie=cookie.split(";")[0]).status == 200


@pytest.mark.parametrize("path", ["//elsewhere.example", "/\\elsewhere.example", "///elsewhere.example"])
def test_the_redirect_never_leaves_the_server(guarded: Served, path: str) -> None:
    reply = guarded.get(f"{path}?token={TOKEN.replace(' ', '+')}")
    assert reply.headers["Location"] == "/elsewhere.example"


def test_a_foreign_name_for_loopback_reads_nothing(served: Served) -> None:
    assert served.get("/", Host="evil.example:8765").status == 421
    assert served.get("/", Host="localhost:1").status == 200
    assert served.get("/", Host="[::1]:1").status == 200
