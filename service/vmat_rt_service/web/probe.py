"""Asks a running service for its health: exit code 0 or 1. Standard library only, for it runs every half minute."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request

_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """`python -m vmat_rt_service.web.probe [PORT]`: prints what is wrong, nothing when all is well."""
    port = int(arguments[0]) if arguments else 8765
    token = os.environ.get("VMAT_RT_WEB_TOKEN", "")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=_SECONDS):
            return 0
    except urllib.error.HTTPError as error:
        print(_name_failing(error))
    except OSError as error:
        print(f"the service does not answer: {error}")
    return 1


def _name_failing(error: urllib.error.HTTPError) -> str:
    try:
        checks = json.load(error)["checks"]
    except (ValueError, KeyError):
        return f"the service answers {error.code}"
    return "; ".join(check["detail"] for check in checks if not check["ok"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
