"""What stands in a cohort's refused.csv leads to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmat_rt.cohort.place import Place
from vmat_rt.curation.intake.refusals import Refusal, read_refusals, remove_identity, write_refusals
from vmat_rt.errors import Problem


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("The ROIs 'Müller PTV' and \"O'Brien\" both mean PTV_7000.", "The ROIs […] and […] both mean PTV_7000."),
        ("The patient's CT (series 1.2.840.113619.2.55) ends.", "The patient's CT (series […]) ends."),
        ("CT slices 41 and 43 are 6.25 mm apart.", "CT slices 41 and 43 are 6.25 mm apart."),
        ("Read from /data/Smith/ct and kept.", "Read from […] and kept."),
        ("Smith was seen in Smithfield.", "[…] was seen in Smithfield."),
        (r"The ROI 'it\'s Smith''s' is empty.", "The ROI […][…] is empty."),
    ],
)
def test_names_uids_and_paths_are_hidden(sentence: str, kept: str) -> None:
    assert remove_identity(Problem("X_Y", sentence, sentence), ["Smith"]) == Problem("X_Y", kept, kept)


def test_the_file_says_again_what_was_written(tmp_path: Path) -> None:
    problems = (Problem("NO_DOSE", "There is none, or so.", "Add one."), Problem("NO_CT", "No\nCT.", "Add it."))
    written = {"case-b": Refusal("case-b", problems), "case-a": Refusal("case-a", problems[:1])}
    place = Place.at(tmp_path)
    assert read_refusals(place) == {}
    write_refusals(place, written)
    assert read_refusals(place) == written
