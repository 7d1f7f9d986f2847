"""The exceptions that vmat-rt raises on purpose, and the problems they carry.

    VmatError                 exit 4   something that should not happen; the others say what did
    |-- InputError            exit 3   the patient's files cannot be used as they are; carries problems
    |-- ConfigError           exit 2   a protocol, recipe, bundle name or option is wrong
    |-- GeometryError         exit 4   two grids or frames met that must not; a bug in the caller
    `-- ModelError            exit 4   a bundle is damaged or gave a dose that cannot be true

A case is examined to the end before it is refused: all its problems are gathered and raised once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input, in a physicist's words.

    code is stable (`CT_GAP`) and documented in docs/problems.md; message says what was found, with numbers;
    remedy says what to do about it. An "error" stops the job, a "warning" stands in the report.
    """

    code: str
    message: str
    remedy: str
    severity: Severity = "error"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.code}: {self.message} {self.remedy}"


def warning(code: str, message: str, remedy: str) -> Problem:
    """A problem that does not stop the job."""
    return Problem(code, message, remedy, "warning")


class VmatError(Exception):
    """Root of every exception that vmat-rt raises on purpose."""

    exit_code = 4


class InputError(VmatError):
    """The input is refused; `problems` says why, completely."""

    exit_code = 3

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        """Whole through pickle, for worker processes."""
        return type(self), (self.problems,)


class ConfigError(VmatError):
    """A setting, protocol, recipe or option is wrong."""

    exit_code = 2


class GeometryError(VmatError):
    """Two grids, frames or shapes met that must not."""


class ModelError(VmatError):
    """A bundle is damaged, or what it predicted cannot be a dose."""


def raise_errors(problems: Iterable[Problem]) -> None:
    """Raise one InputError with every problem of severity "error"; return when there is none."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise InputError(errors)


def mistakes(error: ValidationError, known: Iterable[str] = ()) -> str:
    """What is wrong with settings that somebody wrote, a clause a mistake: `batch: ..., not 0`.

    known: names of keys, of which one is suggested where an unknown key resembles it.
    """
    names = tuple(known)
    return "; ".join(_mistake(details, names) for details in error.errors(include_url=False))


def _mistake(details: ErrorDetails, known: tuple[str, ...]) -> str:
    place = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(details["loc"][-1]), known, n=1)
        return f"there is no key {place}" + (f" (did you mean {near[0]}?)" if near else "")
    said = details["msg"].removeprefix("Value error, ")
    given = details["input"]
    if isinstance(given, str | int | float):
        said = f"{said[:1].lower()}{said[1:]}, not {given!r}"
    return f"{place}: {said}" if place else said
