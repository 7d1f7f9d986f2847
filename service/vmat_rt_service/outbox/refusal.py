"""Why there is no dose: OUTBOX/refused/<case>/{reason.html, reason.json}, in a physicist's words."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from vmat_rt.errors import Problem
from vmat_rt.scrubbing import scrub
from vmat_rt.system.publish import published_folder
from vmat_rt_service.files import write_json
from vmat_rt_service.journal.states import State

FOLDER = "refused"
_HEADINGS = {
    State.REFUSED: "This study was refused",
    State.FAILED: "This study could not be computed",
    State.QUARANTINED: "This study is incomplete",
}
_ADVICE = {
    State.REFUSED: "Send the corrected files: they are taken as a new study. The inputs were not changed.",
    State.FAILED: "The inputs were not changed. The study can be run again.",
    State.QUARANTINED: "It goes on by itself as soon as the missing files arrive.",
}


def publish_refusal(
    outbox: Path, key: str, state: State, problems: Sequence[Problem], identity: Iterable[str] = (), retry: str = ""
) -> None:
    """Publish the reasons, whole or not at all. identity: what of the patient must not stand in them.

    retry: the command that runs the study again.
    """
    from jinja2 import Environment, PackageLoader

    words = tuple(identity)
    listed = [{name: scrub(text, words) for name, text in problem.as_dict().items()} for problem in problems]
    environment = Environment(loader=PackageLoader("vmat_rt_service"), autoescape=True)
    page = environment.get_template("reason.html").render(
        heading=_HEADINGS[state], key=key, problems=listed, advice=_ADVICE[state], retry=retry
    )
    with published_folder(outbox / FOLDER / key) as folder:
        (folder / "reason.html").write_text(page, encoding="utf-8")
        write_json(folder / "reason.json", {"schema_version": 1, "case": key, "state": str(state), "problems": listed})


def withdraw(outbox: Path, key: str) -> None:
    """The reason no longer holds."""
    shutil.rmtree(outbox / FOLDER / key, ignore_errors=True)


def sweep(outbox: Path) -> None:
    """Remove what a killed service had not yet published."""
    for path in (outbox / FOLDER).glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
