"""The exceptions that vmat-rt raises on purpose, and the problems they carry.

    VmatError                 exit 4   something that should not happen; the others say what did
    |-- InputError            exit 3   the patient's files cannot be used as they are; carries problems
    |-- ConfigError           exit 2   a protocol, recipe, bundle name or option is wrong
    |-- GeometryError         exit 4   two grids or frames met that must not; a bug in the caller
    `-- ModelError            exit 4   a bundle is damaged or gave a dose that cannot be true

A case is examined to the end before it is refused: all its problems are gathered and raised once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

Severity = Literal["error", "warning"]

MACHINE_FAULTS: Final = frozenset({"DISK_FULL", "OUTPUT_NOT_WRITABLE", "FOLDER_CHANGED"})
"""Codes that say nothing of the case: nobody may note them as its refusal, and it is tried again."""


LONGEST_TEXT: Final = 599
"""Characters of a message or remedy at most, whatever the input: it is read on a screen and in a mail."""


def shortened(text: str, longest: int = 40) -> str:
    """The text, with its middle left out where it is longer than `longest`; both ends of a name tell it apart."""
    if len(text) <= longest:
        return text
    end = (longest - 3) // 3
    return f"{text[: longest - 3 - end]}...{text[len(text) - end :]}"


def printable(text: str) -> str:
    """The text with ? for every character but new lines that is not printable: control, escape, change of direction."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text.expandtabs())


def listed(names: Sequence[str], most: int = 6, longest: int = 40, between: str = ", ", last: str = "") -> str:
    """The first names, each shortened, and how many more there are. last stands before the last one where all are."""
    shown = [shortened(name, longest) for name in names[:most]]
    if len(names) > most:
        return f"{between.join(shown)} and {len(names) - most} more"
    if last and len(shown) > 1:
        return f"{between.join(shown[:-1])}{last}{shown[-1]}"
    return between.join(shown)


def listed_within(names: Sequence[str], room: int, longest: int = 40) -> str:
    """As many of the names as fit into `room` characters, one at least, and how many more there are."""
    used, most = 0, 0
    for name in names:
        used += min(len(name), longest) + 2
        if most and used > room:
            break
        most += 1
    return listed(names, most, longest)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input, in a physicist's words.

    code is stable (`CT_GAP`) and documented in docs/problems.md; message says what was found, with numbers;
    remedy says what to do about it. An "error" stops the job, a "warning" stands in the report. Both texts are at most
    LONGEST_TEXT characters: what an input makes longer loses its middle.
    """

    code: str
    message: str
    remedy: str
    severity: Severity = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message, LONGEST_TEXT))
        object.__setattr__(self, "remedy", shortened(self.remedy, LONGEST_TEXT))

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

    @property
    def is_of_the_machine(self) -> bool:
        """Whether the place for results is at fault and not the input."""
        return any(problem.code in MACHINE_FAULTS for problem in self.problems)

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
