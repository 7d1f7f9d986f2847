"""What `vmat-rt doctor` finds: one sentence each, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. fail: the service cannot do its work; warn: it can, but somebody should know."""

    name: str
    status: Status
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON shows it."""
        return asdict(self)


def ok(name: str, detail: str) -> Finding:
    return Finding(name, "ok", detail)


def warn(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, "warn", detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, "fail", detail, remedy)


def find_worst(findings: Iterable[Finding]) -> Status:
    """The one that counts: fail over warn over ok."""
    statuses = {finding.status for finding in findings}
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "ok"


def collect_findings(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of one look. A look that itself breaks is a finding: the others still have to be made."""
    try:
        yield from look()
    except Exception as error:  # whatever is wrong with this machine is what we are here to say
        remedy = "Mend that first, or report it with this line."
        yield fail(name, f"it could not be checked: {type(error).__name__}: {error}", remedy)
