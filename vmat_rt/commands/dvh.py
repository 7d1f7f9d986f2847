"""`vmat-rt dvh`."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.common import (
    add_prescription_options,
    deidentified_option,
    goals_option,
    guard,
    json_option,
    print_json,
    protocol_option,
    say,
    structures_option,
)
from vmat_rt.commands.progress import show_steps

DEFAULT_METRICS = "D99%,D98%,D95%,D50%,D2%,D1%,D0.03cc,Dmin,Dmean,Dmax"


@click.command(
    epilog="Example: vmat-rt dvh demo/study --dose demo/study/RTDOSE.dcm "
    "--metrics D95%,D0.03cc,Dmean,V70Gy --all-rois --json"
    "\n\nThe study is the one that vmat-rt demo leaves there."
)
@click.argument("study_dir", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--dose", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="RTDOSE file."
)
@click.option("--metrics", default=DEFAULT_METRICS, show_default=True, metavar="LIST", help="Metrics, comma-separated.")
@click.option("--all-rois", is_flag=True, help="Every contoured ROI, mapped or not. Default: the mapped ones.")
@protocol_option
@goals_option
@structures_option
@deidentified_option
@add_prescription_options
@json_option
@guard
@show_steps
def command(
    study_dir: Path,
    dose: Path,
    metrics: str,
    all_rois: bool,
    as_json: bool,
    protocol_name: str | None,
    goal_sets: tuple[str, ...],
    structures_uid: str | None,
    prescription: dict[str, float],
    fractions: int | None,
    deidentified: bool,
) -> None:
    """DVH metrics and planning goals of any RTDOSE over a study's structures.

    STUDY_DIR holds the RTSTRUCT; CT is optional. Metrics: D95%, D0.03cc, Dmean, Dmin, Dmax, V70Gy (percent of the
    volume), V70Gy[cc], V95% (of the prescription).
    """
    from vmat_rt.metrics.grammar import parse_metrics
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.study.review import dvh_document, dvh_text

    choice = StudyChoice(
        structures_uid=structures_uid,
        protocol=load_protocol(protocol_name) if protocol_name else None,
        prescription_gy=prescription,
        fractions=fractions,
        deidentified=deidentified,
        goal_sets=goal_sets,
    )
    document = dvh_document(study_dir, dose, parse_metrics(metrics), choice, all_rois=all_rois)
    if as_json:
        print_json(document.model_dump(mode="json"))
    else:
        say(dvh_text(document))
