"""What a cohort says of itself: the head of cohort.yaml. Nothing in it may lead to a person."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, StringConstraints

from vmat_rt.bundle import GridRule
from vmat_rt.strict import Strict

SCHEMA_VERSION: Final = 1

_TELLTALE: Final = {
    "a DICOM UID": re.compile(r"\d+(\.\d+){4,}"),
    "a date": re.compile(r"(?<!\d)(19|20)\d\d[-/.]?(0[1-9]|1[0-2])[-/.]?(0[1-9]|[12]\d|3[01])(?!\d)"),
    "a path": re.compile(r"(^|[\s='\"])(/|~|\.\.?/|[A-Za-z]:\\|\\\\)"),
}


def plain(text: str) -> str:
    """The text, unless it holds what could lead to a person or a place. Raises ValueError that says what."""
    for what, pattern in _TELLTALE.items():
        if pattern.search(text):
            raise ValueError(f"holds {what}, which a cohort must not")
    return text


PlainText = Annotated[str, StringConstraints(max_length=500), AfterValidator(plain)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Names a case or patient in a cohort, and in its file names. Not taken from what a hospital calls them."""


class Provenance(Strict):
    """Where a cohort's cases come from. command is what made it, without paths. limits: what its cases do not show,
    a sentence each; models that learn from them say so.
    """

    data: PlainText
    licence: PlainText
    simulated: bool
    command: PlainText
    limits: tuple[PlainText, ...] = ()


class CohortSettings(Strict):
    """Fixed when the cohort is made. Every case is put on the grid that the rule gives it.

    protocol is the one that names the cohort's structures; a case may follow a narrower one of the same names (a
    single-level plan in an SIB cohort).
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Key
    protocol: PlainText
    grid: GridRule
    provenance: Provenance
