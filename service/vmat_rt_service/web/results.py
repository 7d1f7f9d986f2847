"""What the page says of a study at a glance: protocol, goals, and why there is no dose, from what was published."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.outbox.published import read_published

_MOST_KEPT = 500
_MOST_PROBLEMS = 3


@dataclass(frozen=True)
class Glance:
    """A result in a line: its protocol, and of the goals that could be evaluated how many are met."""

    protocol: str
    met: int
    evaluated: int
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Why a study was refused: a sentence, what to do, and the code that the handbook explains."""

    sentence: str
    remedy: str
    code: str


class Results:
    """Reads what lies in the outbox, each once: a result is never changed. Safe in threads."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._kept: OrderedDict[str, Glance] = OrderedDict()

    def glance(self, key: str) -> Glance | None:
        """A result at a glance; None where there is none, or none that can be read."""
        found = self._kept.get(key)
        if found is None:
            found = _summarise(read_published(self._config, "reports", key))
            if found is not None:
                self._kept[key] = found
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        return found

    def list_reasons(self, key: str) -> tuple[Reason, ...]:
        """Why there is no dose, as published; empty where nothing was."""
        problems = read_published(self._config, "refused", key).get("problems")
        found = [_make_reason(problem) for problem in (problems if isinstance(problems, list) else ())]
        return tuple(reason for reason in found if reason is not None)[:_MOST_PROBLEMS]


def _make_reason(problem: Any) -> Reason | None:
    if not isinstance(problem, dict) or not problem.get("message"):
        return None
    return Reason(*(str(problem.get(name, "")) for name in ("message", "remedy", "code")))


def _summarise(document: dict[str, Any]) -> Glance | None:
    try:
        title = str(document["protocol"]["title"])
        goals = [goal for goal in document["predicted"]["goals"] if goal["status"] in {"met", "missed"}]
        missed = [f"{goal['structure']} {goal['metric_stated']}" for goal in goals if goal["status"] == "missed"]
    except (KeyError, TypeError):
        return None
    return Glance(title, len(goals) - len(missed), len(goals), tuple(missed))
