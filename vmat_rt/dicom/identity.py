"""What in a file says whose it is, so that it can be kept out of texts."""

from __future__ import annotations

import re
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
_SHORTEST = 3  # shorter parts of a name stand in half of all words


def identifying_values(path: Path) -> frozenset[str]:
    """Name (whole and in parts), IDs and birth date of the patient of a file; empty where it cannot be read."""
    found: set[str] = set()
    try:
        dataset = read_header(path, "file", _KEYWORDS).dataset
        for keyword in _KEYWORDS:
            text = str(dataset.get(keyword, "") or "")
            found.add(text.strip())
            found.update(re.split(r"[\s^=,\\\[\]']+", text))
    except Exception:  # the boundary: pydicom raises whatever the bytes lead it to
        return frozenset(text for text in found if len(text) >= _SHORTEST)
    return frozenset(text for text in found if len(text) >= _SHORTEST)
