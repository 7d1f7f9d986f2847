"""What in a file says whose it is, so that it can be kept out of texts."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom

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
_SHORTEST = 3  # shorter parts of a name stand in half of all words


def identifying_values(path: Path) -> frozenset[str]:
    """Name (whole and in parts), IDs and birth date of the patient of a file; empty where it cannot be read."""
    found: set[str] = set()
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
        for keyword in _KEYWORDS:
            text = str(dataset.get(keyword, "") or "")
            found.add(text.strip())
            found.update(re.split(r"[\s^=,\\\[\]']+", text))
    except Exception:  # the boundary: pydicom raises whatever the bytes lead it to
        return frozenset(text for text in found if len(text) >= _SHORTEST)
    return frozenset(text for text in found if len(text) >= _SHORTEST)
