"""What a cohort says of itself may lead to nobody: UIDs, dates and paths are refused wherever they stand."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from vmat_rt.cohort.settings import Key, Provenance, plain

KEY = TypeAdapter(Key)


@pytest.mark.parametrize(
    "text", ["OpenKBP, 340 patients", "SIMULATED, seed 7, 40.5 Gy", "cohort add DIR --jobs 2", "version 1.2.3"]
)
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("from 1.2.840.113619.2", "a DICOM UID"),
        ("scanned 20240131", "a date"),
        ("scanned 1999-12-31", "a date"),
        ("scanned 2024/1", None),
        ("read from /data/clinic", "a path"),
        ("--out=/data", "a path"),
        ("~/cohort", "a path"),
        (r"D:\patients", "a path"),
        (r"\\server\share", "a path"),
        ("../elsewhere", "a path"),
    ],
)
def test_what_could_lead_to_a_person_is_named(text: str, what: str | None) -> None:
    if what is None:
        assert plain(text) == text
        return
    with pytest.raises(ValueError, match=what):
        plain(text)


@pytest.mark.parametrize("field", ["data", "licence", "command", "limits"])
def test_every_text_of_the_provenance_is_looked_at(field: str) -> None:
    texts = {"data": "d", "licence": "l", "command": "c", "limits": ("one",)}
    bad = "of 1.2.840.10008.5"
    with pytest.raises(ValidationError, match="a DICOM UID"):
        Provenance.model_validate({**texts, "simulated": False, field: (bad,) if field == "limits" else bad})


@pytest.mark.parametrize("key", ["", "a/b", "..", "_a", "a b", "ä", "a" * 65])
def test_a_key_is_a_file_name_anywhere(key: str) -> None:
    with pytest.raises(ValidationError):
        KEY.validate_python(key)


@pytest.mark.parametrize("key", ["a", "0-_Z", "a" * 64])
def test_keys_of_letters_digits_and_dashes_are_taken(key: str) -> None:
    assert KEY.validate_python(key) == key
