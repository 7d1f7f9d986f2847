"""How often the files of a group could not be taken, and when it is its turn again: no group stands in others' way."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0


@dataclass(frozen=True)
class _Failed:
    count: int
    not_before: float


class Attempts:
    """The failed attempts, by what the group's files were then: other files begin anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed: dict[str, _Failed] = {}

    def may_try(self, signature: str, now: float) -> bool:
        """Whether the pause after the last failure is over."""
        return self._get(signature).not_before <= now

    def count(self, signature: str) -> int:
        return self._get(signature).count

    def note_failure(self, signature: str, now: float) -> bool:
        """One more, and a pause twice as long as the last one; whether that was the last attempt."""
        count = self.count(signature) + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (count - 1), _LONGEST_PAUSE_SECONDS)
        self._failed[signature] = _Failed(count, now + pause)
        return count >= self._most

    def keep_only(self, signatures: set[str]) -> None:
        """Forget groups that are no more, or whose files are others now."""
        self._failed = {name: failed for name, failed in self._failed.items() if name in signatures}

    def _get(self, signature: str) -> _Failed:
        return self._failed.get(signature, _Failed(0, float("-inf")))
