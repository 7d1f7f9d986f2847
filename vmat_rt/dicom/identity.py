"""What in a file says whose it is, so that it can be kept out of texts."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from vmat_rt.dicom.files import read_header

_KEYWORDS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientBirthName",
    "PatientMotherBirthName",
    "AccessionNumber",
    "StudyID",
)
_NAMES = frozenset({"PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName"})
_SHORTEST = 3  # shorter IDs and words of addresses stand in half of all sentences
_SHORTEST_NAME = 2
_TITLES = frozenset({"dr", "mr", "ms", "md", "jr", "sr", "ii", "iii", "iv", "mrs", "prof", "phd", "hr", "fr"})
_PARTS = re.compile(r"[\s^=,;/\\\[\]']+")
_DATE = re.compile(r"(\d{4})[-.]?(\d{2})[-.]?(\d{2})")


def identifying_values(path: Path) -> frozenset[str]:
    """Name (whole and in parts), IDs and birth date, in the ways that it is written, of the patient of a file.

    Empty where it cannot be read. `scrubbing.scrub` takes them out of a text.
    """
    found: set[str] = set()
    try:
        dataset = read_header(path, "file", _KEYWORDS).dataset
        for keyword in _KEYWORDS:
            found.update(_collect_words(str(dataset.get(keyword, "") or ""), keyword in _NAMES))
        found.update(_write_dates(str(dataset.get("PatientBirthDate", "") or "")))
    except Exception:  # the boundary: pydicom raises whatever the bytes lead it to
        return frozenset(found)
    return frozenset(found)


def _collect_words(text: str, is_name: bool) -> Iterator[str]:
    for word in (text.strip(), *_PARTS.split(text)):
        if len(word) >= _SHORTEST or (is_name and _is_short_name(word)):
            yield word


def _is_short_name(word: str) -> bool:
    """Li, Wu, or one character of a script that needs no more; no initial and no title."""
    return word.casefold() not in _TITLES and (len(word) >= _SHORTEST_NAME or not (word or "a").isascii())


def _write_dates(text: str) -> Iterator[str]:
    """A DICOM date as it is written elsewhere: 1937-04-19, 19.4.1937, 04/19/1937, 19 Apr 1937, 370419."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return
    try:
        day = date(*map(int, found.groups()))
    except ValueError:
        return
    month = calendar.month_name[day.month]
    orders = (day.year, day.month, day.day), (day.day, day.month, day.year), (day.month, day.day, day.year)
    for mark in "-./ ":
        for order in orders:
            yield mark.join(map(str, order))
            yield mark.join(f"{part:02d}" for part in order)
    for name in (month, month[:3]):
        for mark in "- ":
            yield mark.join((str(day.day), name, str(day.year)))
            yield mark.join((f"{day.day:02d}", name, str(day.year)))
        yield f"{name} {day.day}, {day.year}"
    yield from (f"{day:%Y%m%d}", f"{day:%d%m%Y}", f"{day:%m%d%Y}", f"{day:%y%m%d}", f"{day:%d%m%y}")
