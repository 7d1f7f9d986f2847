"""Who may read the status page and who may change something: this machine on loopback, otherwise who knows the token.

Nothing is changed without a token. A proxy on this machine makes everybody look like this machine: what came through
one is recognised, refused where no token guards the page, and believed only where the configuration names the proxy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from vmat_rt.errors import ConfigError
from vmat_rt_service.addresses import is_loopback, is_permitted
from vmat_rt_service.config import WebConfig

TOKEN_VARIABLE = "VMAT_RT_WEB_TOKEN"
"""Where the token may stand instead of the configuration file: in the environment."""

COOKIE = "vmat_rt_web"
_SHORTEST_TOKEN = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


@dataclass(frozen=True)
class Access:
    """The rule for one server; token "" means that this machine's own users need none, and can change nothing."""

    host: str
    token: str
    proxies: tuple[str, ...] = ()

    @property
    def cookie(self) -> str:
        """What a browser keeps instead of the token; it stops working when the token changes."""
        return self._derive(b"status page")

    @property
    def form_key(self) -> str:
        """What a form of ours carries, which no other site can know: a request from there changes nothing."""
        return self._derive(b"form")

    def _derive(self, purpose: bytes) -> str:
        return hmac.new(self.token.encode(), purpose, hashlib.sha256).hexdigest()

    def knows_token(self, offered: str) -> bool:
        """Compare in constant time."""
        return bool(self.token) and hmac.compare_digest(offered.encode(), self.token.encode())

    def permits(self, authorization: str, cookies: str) -> bool:
        """Whether a request may pass, by bearer header or by cookie."""
        if not self.token:
            return True
        return self.bears_token(authorization) or hmac.compare_digest(
            _find_cookie(cookies).encode(), self.cookie.encode()
        )

    def bears_token(self, authorization: str) -> bool:
        """Whether the bearer header holds the token; a browser sends none by itself."""
        scheme, _, offered = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows_token(offered.strip())

    def knows_form(self, offered: str) -> bool:
        """Whether a form was made by this page."""
        return bool(self.token) and hmac.compare_digest(offered.encode(), self.form_key.encode())

    def is_own_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether a browser says that a request comes from this page; other programs say nothing.

        Our policy sends no referrer, which makes a browser's Origin "null" even for our own forms.
        """
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin", "")
        if site is not None:
            return site in {"same-origin", "none"}
        return not origin or origin.partition("://")[2] == headers.get("Host", "")

    def addresses(self, host_header: str) -> bool:
        """Whether a request without a token was meant for this machine.

        A web site can point its own name at 127.0.0.1 and let a visitor's browser read this page (DNS rebinding); the
        Host header then gives that name.
        """
        return bool(self.token) or _strip_port(host_header) in _LOCAL_NAMES | {self.host.lower()}

    def is_from_elsewhere(self, headers: Mapping[str, str]) -> bool:
        """Whether a request came through a proxy while no token guards the page: then anybody may stand behind it."""
        return not self.token and any(name in headers for name in _PROXY_HEADERS)

    def find_client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of whom a request comes from: what a named proxy says, from the nearest hop on; else the peer."""
        client = peer
        hops = [hop.strip() for hop in headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        while hops and self._is_proxy(client):
            client = hops.pop()
        return client if _is_address(client) else peer

    def is_encrypted(self, peer: str, headers: Mapping[str, str]) -> bool:
        """Whether a named proxy says that the browser came by https."""
        return self._is_proxy(peer) and headers.get("X-Forwarded-Proto", "").lower() == "https"

    def _is_proxy(self, address: str) -> bool:
        return _is_address(address) and is_permitted(address, self.proxies)


def make_access(web: WebConfig) -> Access:
    """The access rule of a configuration. Raises ConfigError when the page would be open to others."""
    token = web.token or os.environ.get(TOKEN_VARIABLE, "")
    if not token and not is_loopback(web.host):
        raise ConfigError(
            f"web.host {web.host or '(all addresses)'} can be reached by other machines, so the status page needs a "
            f"token: set web.token or {TOKEN_VARIABLE}, or use host 127.0.0.1"
        )
    if not token and web.proxies:
        raise ConfigError(
            f"web.proxies: what is behind a proxy can be reached by others, so the status page needs a token: set "
            f"web.token or {TOKEN_VARIABLE}"
        )
    if token and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(f"web.token has {len(token)} characters; {_SHORTEST_TOKEN} or more cannot be guessed")
    return Access(web.host, token, web.proxies)


def _is_address(text: str) -> bool:
    try:
        is_permitted(text, ())
    except ValueError:
        return False
    return True


def _find_cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _strip_port(host_header: str) -> str:
    host = host_header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
