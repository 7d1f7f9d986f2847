"""Takes what names a patient out of a text, however either is spelt. What that is, `dicom.identity` finds."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

REMOVED: Final = "[removed]"

_ALONE: Final = 3
"""Words of so few letters are taken out where they stand alone only: they are part of many others."""

_OWN_WORDS: Final = frozenset(
    {"a", "an", "as", "at", "be", "by", "do", "go", "he", "i", "if", "in", "is", "it", "me", "my", "no", "of", "on"}
    | {"or", "so", "to", "up", "us", "we", "all", "and", "any", "are", "but", "for", "has", "its", "may", "new", "not"}
    | {"one", "the", "two", "was"}
)
"""Names that are words of our own sentences, which stay where they are written small."""

_PLAIN: Final = str.maketrans(
    {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t"}
)
"""Letters that have no decomposition but are written without their stroke or as two where a keyboard lacks them."""


def scrub(text: str, words: Iterable[str], mark: str = REMOVED, whole: bool = False) -> str:
    """The text with a mark in place of each of the words.

    Compared without case, accents, compatibility forms and invisible characters (Unicode NFKD and full case folding,
    Turkish dotless i as i), so that neither a decomposed umlaut nor a capital hides a name. whole: only where a word
    stands alone; otherwise also within others, as in PTVMiller.
    """
    folded, places = _fold_with_places(text)
    spans: list[tuple[int, int]] = []
    for word in words:
        wanted = "".join(_fold(character) for character in word).strip()
        spans += _find(folded, wanted, text, places, _ALONE if not whole else len(text)) if wanted else []
    return _replace(text, _join(spans), mark)


def _fold(character: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    kept = (part for part in plain if unicodedata.category(part) not in {"Mn", "Me", "Cf"})
    return "".join(kept).translate(_PLAIN)


def _fold_with_places(text: str) -> tuple[str, list[int]]:
    """The folded text, and where in the text each of its characters comes from."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        parts = _fold(character)
        folded.append(parts)
        places += [place] * len(parts)
    return "".join(folded), [*places, len(text)]


def _find(folded: str, wanted: str, text: str, places: list[int], alone: int) -> Iterator[tuple[int, int]]:
    """Where the word stands, as a span of the text that takes the marks over its last letter along."""
    start = folded.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        span = places[start], max(places[end - 1] + 1, places[end])
        if len(wanted) > alone or (_stands_alone(folded, start, end) and not _is_own(wanted, text[slice(*span)])):
            yield span
        start = folded.find(wanted, start + 1)


def _stands_alone(folded: str, start: int, end: int) -> bool:
    """Whether no letter touches it; and to a number, no digit or point of a longer one."""
    before, after = folded[start - 1 : start], folded[end : end + 1]
    if folded[start:end].isdigit():
        return not (
            before.isalnum()
            or before == "."
            or after.isalnum()
            or (after == "." and folded[end + 1 : end + 2].isdigit())
        )
    return not (before.isalpha() or after.isalpha())


def _is_own(wanted: str, written: str) -> bool:
    return wanted in _OWN_WORDS and written.islower()


def _join(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _replace(text: str, spans: list[tuple[int, int]], mark: str) -> str:
    parts, position = [], 0
    for start, end in spans:
        parts += [text[position:start], mark]
        position = end
    return "".join([*parts, text[position:]])
