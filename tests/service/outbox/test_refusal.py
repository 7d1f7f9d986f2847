"""Published reasons: whole, escaped, without what names the patient, and withdrawn when they no longer hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmat_rt.errors import Problem
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox.refusal import FOLDER, publish_refusal, sweep, withdraw

GAP = Problem("CT_GAP", "CT slices 41 and 43 are 6 mm apart.", "Export the complete series.")


def published(outbox: Path, key: str = "case-1") -> tuple[str, dict[str, object]]:
    folder = outbox / FOLDER / key
    assert {path.name for path in folder.iterdir()} == {"reason.html", "reason.json"}
    return (folder / "reason.html").read_text(), json.loads((folder / "reason.json").read_text())


@pytest.mark.parametrize("state", [State.REFUSED, State.FAILED, State.QUARANTINED])
def test_a_page_and_a_document_say_every_problem(tmp_path: Path, state: State) -> None:
    publish_refusal(tmp_path, "case-1", state, [GAP, Problem("NO_CT", "There is no CT.", "Add it.")])
    page, document = published(tmp_path)
    assert (document["case"], document["state"]) == ("case-1", str(state))
    assert document["problems"][0] == GAP.as_dict()  # type: ignore[index]
    assert [problem["code"] for problem in document["problems"]] == ["CT_GAP", "NO_CT"]  # type: ignore[attr-defined]
    for text in (GAP.message, GAP.remedy, "There is no CT.", "case-1"):
        assert text in page


def test_what_names_the_patient_is_removed_wherever_it_stands(tmp_path: Path) -> None:
    message = "ROI 'anna MÜLLER ptv' of Müller^Anna, MUELLER"
    publish_refusal(
        tmp_path, "case-1", State.REFUSED, [Problem("X", message, "Ask Anna.")], ["Müller", "Müller^Anna", "Anna"]
    )
    page, document = published(tmp_path)
    (problem,) = document["problems"]  # type: ignore[misc]
    assert problem["message"] == "ROI '[removed] [removed] ptv' of [removed], MUELLER"
    assert problem["remedy"] == "Ask [removed]."
    for text in (page, json.dumps(document, ensure_ascii=False)):
        assert "anna" not in text.lower().replace("[removed]", "")


def test_words_of_a_study_cannot_become_markup(tmp_path: Path) -> None:
    publish_refusal(tmp_path, "case-1", State.REFUSED, [Problem("X", "ROI '<script>alert(1)</script>'", "")])
    assert "<script>alert" not in published(tmp_path)[0]


def test_reasons_are_withdrawn_and_halves_are_swept(tmp_path: Path) -> None:
    publish_refusal(tmp_path, "case-1", State.REFUSED, [GAP])
    publish_refusal(tmp_path, "case-2", State.REFUSED, [GAP])
    (tmp_path / FOLDER / ".case-3.tmp").mkdir()
    sweep(tmp_path)
    withdraw(tmp_path, "case-1")
    withdraw(tmp_path, "never there")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["case-2"]
