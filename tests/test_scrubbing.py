"""What names a patient is taken out of a text however either is spelt, and other words stay."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.dicom_phantom import edited, write_study
from vmat_rt.dicom.identity import identifying_values
from vmat_rt.scrubbing import REMOVED, scrub


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ROI 'ptv_{}'", "Müller"),
        ("ROI '{} boost'", unicodedata.normalize("NFD", "Müller")),
        ("of {}.", "MÜLLER"),
        ("of {}.", "Muller"),
        ("of {}.", "\uff2d\u00fcller"),
        ("of {}.", "Mül\u200bler"),
    ],
    ids=["in a name", "decomposed", "capitals", "no umlaut", "full width", "invisible space"],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_umlauts_however_encoded(text: str, name: str, form: str) -> None:
    word = unicodedata.normalize(form, "Müller")
    assert scrub(text.format(name), [word]) == text.format(REMOVED)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("YILDIZ", "yıldız"),
        ("yildiz", "YILDIZ"),
        ("İpek", "ipek"),
        ("ipek", "İPEK"),
        ("IPEK", "ipek"),
        ("i\u0307pek", "İpek"),
        ("STRASSER", "Straßer"),
        ("Strasser", "STRAẞER"),
        ("Sorensen", "Sørensen"),
        ("Lukasz", "Łukasz"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("山田", "山田"),
    ],
)
def test_letters_that_change_with_case(written: str, name: str) -> None:
    assert scrub(f"ROI '{written}_1' of {written}", [name]) == f"ROI '{REMOVED}_1' of {REMOVED}"


@pytest.mark.parametrize("name", ["Li", "Wu", "Ng", "Bo", "Ö"])
def test_short_names_go_where_they_stand_alone(name: str) -> None:
    text = "ROI 'PTV_{0}' of {0}, {0}2: the lining, wuthering, song, bore and öl stay"
    assert scrub(text.format(name.upper()), [name]) == text.format(REMOVED)


def test_names_that_are_words_of_a_sentence_leave_it_readable() -> None:
    assert scrub("There is no CT in an ROI 'AN' or 'NO'", ["No", "An", "In"]) == (
        f"There is no CT in an ROI '{REMOVED}' or '{REMOVED}'"
    )


def test_numbers_are_no_parts_of_numbers() -> None:
    assert scrub("dose 471.1 Gy, 4711 slices, ID 471", ["471"]) == f"dose 471.1 Gy, 4711 slices, ID {REMOVED}"


def test_words_that_overlap_leave_nothing_between() -> None:
    assert scrub("Anna-Lena Lenart", ["Anna-Lena", "Lena", "Lenart"]) == f"{REMOVED} {REMOVED}"


@pytest.mark.parametrize(
    "written",
    ["1937-04-09", "19370409", "09.04.1937", "9.4.1937", "04/09/1937", "9 Apr 1937", "April 9, 1937", "370409"],
)
def test_birth_dates_however_written(tmp_path: Path, written: str) -> None:
    study = write_study(tmp_path, ct=False)
    with edited(study.structures_file) as ds:
        ds.PatientBirthDate = "19370409"
    assert scrub(f"ROI 'x {written} y'", identifying_values(study.structures_file)) == f"ROI 'x {REMOVED} y'"


def test_short_names_of_a_file_are_found_but_not_its_titles(tmp_path: Path) -> None:
    study = write_study(tmp_path, ct=False, patient="Li^Bo^J^Dr")
    found = identifying_values(study.structures_file)
    assert {"Li", "Bo"} <= found
    assert not {"Dr", "J"} & found
