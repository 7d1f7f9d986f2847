"""What the service wrote about itself: whether journal and audit log are whole, and who may read them."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.doctor.findings import Finding, fail, ok, warn
from vmat_rt_service.journal import audit
from vmat_rt_service.journal.database import SECRET
from vmat_rt_service.journal.readings import reading
from vmat_rt_service.journal.rebuilding import find_fault
from vmat_rt_service.places import Places


def check_records(config: ServiceConfig) -> Iterator[Finding]:
    """Journal, audit log, folders as the service knows them, and rights of the state folder."""
    if not config.state.is_dir():
        yield ok("records", "there are none yet")
        return
    yield _check_journal(config)
    yield _check_audit(config)
    yield _check_places(config)
    yield _check_rights(config)


def _check_journal(config: ServiceConfig) -> Finding:
    fault = find_fault(config.journal)
    if fault:
        remedy = f"Stop the service and run `vmat-rt jobs rebuild --state {config.state}`; the damaged one is kept."
        return fail("journal", f"{config.journal} is damaged ({fault})", remedy)
    if not config.journal.exists():
        if config.audit.exists():
            remedy = f"Stop the service and run `vmat-rt jobs rebuild --state {config.state}`."
            return fail("journal", "there is an audit log, but no journal", remedy)
        return ok("journal", "there is none yet")
    return ok("journal", f"{config.journal} is whole")


def _check_audit(config: ServiceConfig) -> Finding:
    verdict = audit.verify(config.audit, _read_head(config))
    if verdict.fault:
        remedy = "Keep a copy of the log and find out who wrote to it; the service goes on behind what is damaged."
        return fail("audit", f"{verdict.lines} lines of the audit log hold; {verdict.fault}", remedy)
    return ok("audit", f"{verdict.lines} lines of the audit log hold")


def _read_head(config: ServiceConfig) -> str:
    try:
        with reading(config.journal) as journal:
            return journal.meta(audit.HEAD)
    except sqlite3.Error:
        return ""


def _check_places(config: ServiceConfig) -> Finding:
    changed = Places(config).find_changed()
    if changed is not None:
        return fail("places", changed.message, changed.remedy)
    return ok("places", "inbox, outbox and state are those that the service knows")


def _check_rights(config: ServiceConfig) -> Finding:
    private = [config.state, config.journal, config.audit, config.state / SECRET]
    open_ones = [path.name for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        detail = f"others than the service's user may read {', '.join(open_ones)}"
        return warn("rights", detail, f"Run `chmod -R go= {config.state}`.")
    return ok("rights", "only the service's user may read the state folder")
