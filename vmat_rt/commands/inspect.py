"""`vmat-rt inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.common import (
    add_prescription_options,
    allow_option,
    deidentified_option,
    guard,
    json_option,
    print_json,
    protocol_option,
    say,
)


@click.command(
    epilog="Example: vmat-rt inspect demo/study --json\n\nThe study is the one that vmat-rt demo leaves there."
)
@click.argument("study_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@protocol_option
@deidentified_option
@add_prescription_options
@allow_option
@json_option
@guard
def command(
    study_dir: Path,
    protocol_name: str | None,
    prescription: dict[str, float],
    fractions: int | None,
    allowed: frozenset[str],
    deidentified: bool,
    as_json: bool,
) -> None:
    """Say what is in a folder: series, structures, volumes, prescription and problems, for every study found.

    Needs neither target nor model. ROIs that no alias maps are listed, with a proposal where a name comes near.
    """
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.study.inspection import as_text, inspect_folder

    choice = StudyChoice(
        protocol=load_protocol(protocol_name) if protocol_name else None,
        prescription_gy=prescription,
        fractions=fractions,
        allowed=allowed,
        deidentified=deidentified,
    )
    document = inspect_folder(study_dir, choice)
    if as_json:
        print_json(document.model_dump(mode="json"))
    else:
        say(as_text(document))
