"""refused.csv of a cohort: why studies are not in it, under their keys, without a word that leads to a person."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from vmat_rt.cohort.place import Place
from vmat_rt.errors import Problem
from vmat_rt.scrubbing import scrub

FILE: Final = "refused.csv"
_COLUMNS: Final = ("key", "code", "message", "remedy")
_HIDDEN: Final = "[…]"
_QUOTED: Final = re.compile(r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""")
"""Names of files, ROIs and structure sets stand in quotes; an apostrophe within a word opens none."""
_TELLTALE: Final = (
    _QUOTED,
    re.compile(r"\d+(?:\.\d+){3,}"),  # UIDs
    re.compile(r"(?<![\w.])(?:~|\.{0,2})/\S+"),  # paths
)


@dataclass(frozen=True)
class Refusal:
    """A study that is not in the cohort, under the key that the key file resolves."""

    key: str
    problems: tuple[Problem, ...]


def remove_identity(problem: Problem, values: Iterable[str] = ()) -> Problem:
    """The problem without what was quoted from the files, UIDs, paths and these values (name, IDs, birth date)."""
    texts, words = [], tuple(values)
    for text in (problem.message, problem.remedy):
        for pattern in _TELLTALE:
            text = pattern.sub(_HIDDEN, text)
        texts.append(scrub(text, words, _HIDDEN, whole=True))
    return replace(problem, message=texts[0], remedy=texts[1])


def read_refusals(cohort: Place) -> dict[str, Refusal]:
    """Read the refusals by key, as the cohort's refused.csv has them; empty where there is none."""
    try:
        text = cohort.read_bytes(FILE).decode("utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, list[Problem]] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        if all(row.get(column) is not None for column in _COLUMNS):
            found.setdefault(row["key"], []).append(Problem(row["code"], row["message"], row["remedy"]))
    return {key: Refusal(key, tuple(problems)) for key, problems in found.items()}


def write_refusals(cohort: Place, refusals: Mapping[str, Refusal]) -> None:
    """Write refused.csv, one line per problem, by key; readers see the old file or the new one."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key, refusal in sorted(refusals.items()):
        writer.writerows((key, p.code, p.message, p.remedy) for p in refusal.problems)
    cohort.write_bytes(FILE, text.getvalue().encode("utf-8"))
