"""Who may read the status page: everyone of this machine on loopback, otherwise who knows the token."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from vmat_rt.errors import ConfigError
from vmat_rt_service.addresses import is_loopback
from vmat_rt_service.config import WebConfig

TOKEN_VARIABLE = "VMAT_RT_WEB_TOKEN"
"""Where the token may stand instead of the configuration file: in the environment."""

COOKIE = "vmat_rt_web"
_SHORTEST_TOKEN = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Access:
    """The rule for one server; token "" means that this machine's own users need none."""

    host: str
    token: str

    @property
    def cookie(self) -> str:
        """What a browser keeps instead of the token; it stops working when the token changes."""
        return hmac.new(self.token.encode(), b"status page", hashlib.sha256).hexdigest()

    def knows_token(self, offered: str) -> bool:
        """Compare in constant time."""
        return bool(self.token) and hmac.compare_digest(offered.encode(), self.token.encode())

    def permits(self, authorization: str, cookies: str) -> bool:
        """Whether a request may pass, by bearer header or by cookie."""
        if not self.token:
            return True
        scheme, _, offered = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.knows_token(offered.strip()):
            return True
        return hmac.compare_digest(_find_cookie(cookies).encode(), self.cookie.encode())

    def addresses(self, host_header: str) -> bool:
        """Whether a request without a token was meant for this machine.

        A web site can point its own name at 127.0.0.1 and let a visitor's browser read this page (DNS rebinding); the
        Host header then gives that name.
        """
        return bool(self.token) or _strip_port(host_header) in _LOCAL_NAMES | {self.host.lower()}


def make_access(web: WebConfig) -> Access:
    """The access rule of a configuration. Raises ConfigError when the page would be open to others."""
    token = web.token or os.environ.get(TOKEN_VARIABLE, "")
    if not token and not is_loopback(web.host):
        raise ConfigError(
            f"web.host {web.host or '(all addresses)'} can be reached by other machines, so the status page needs a "
            f"token: set web.token or {TOKEN_VARIABLE}, or use host 127.0.0.1"
        )
    if token and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(f"web.token has {len(token)} characters; {_SHORTEST_TOKEN} or more cannot be guessed")
    return Access(web.host, token)


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
