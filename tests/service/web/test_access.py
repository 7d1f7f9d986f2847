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


PROXIED = (
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "10.0.0.1"},
    {"Forwarded": "for=10.0.0.1"},
    {"Via": "1.1 proxy"},
)


@pytest.mark.parametrize("headers", PROXIED, ids=lambda headers: next(iter(headers)))
def test_what_came_through_a_proxy_is_not_taken_for_this_machine(served: Served, headers: dict[str, str]) -> None:
    """A proxy beside the service makes the whole network look like loopback, with a Host of 127.0.0.1 too."""
    for path in ("/", "/healthz", "/jobs/1"):
        reply = served.get(path, Host="127.0.0.1:8765", **headers)
        assert reply.status == 403
        assert b"case-" not in reply.body
    assert "web.proxies" in served.get("/", **headers).text


def test_behind_a_named_proxy_the_token_opens_and_others_are_believed_nothing() -> None:
    access = make_access(WebConfig(token=TOKEN, proxies=("127.0.0.1", "10.9.0.0/16")))
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5, 10.9.0.2", "X-Forwarded-Proto": "https"}
    assert not access.is_from_elsewhere(forwarded)
    assert access.find_client("127.0.0.1", forwarded) == "203.0.113.5", "the nearest hop that is no proxy of ours"
    assert access.find_client("192.0.2.1", forwarded) == "192.0.2.1", "not named: its header is not read"
    assert access.find_client("127.0.0.1", {"X-Forwarded-For": "nonsense"}) == "127.0.0.1"
    assert access.is_encrypted("127.0.0.1", forwarded)
    assert not access.is_encrypted("192.0.2.1", forwarded)


def test_a_proxy_without_a_token_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="token"):
        make_access(WebConfig(proxies=("127.0.0.1",)))


def test_a_foreign_name_for_loopback_reads_nothing(served: Served) -> None:
    assert served.get("/", Host="evil.example:8765").status == 421
    assert served.get("/", Host="localhost:1").status == 200
    assert served.get("/", Host="[::1]:1").status == 200
