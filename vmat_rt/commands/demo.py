"""`vmat-rt demo`."""

from __future__ import annotations

from pathlib import Path

import click

from vmat_rt.commands.common import guard, json_option, print_json, say
from vmat_rt.commands.predict import device_option

_STUDY = "study"
_OUT = "out"


@click.command(epilog="Example: vmat-rt demo")
@click.argument("folder", default="demo", metavar="[FOLDER]", type=click.Path(file_okay=False, path_type=Path))
@device_option
@json_option
@guard
def command(folder: Path, device: str, as_json: bool) -> None:
    """Predict a sample study that comes with vmat-rt, and say where the report is. Nothing is fetched.

    A head-and-neck patient of OpenKBP (3 MB of CT, RTSTRUCT, RTPLAN and RTDOSE) is copied to FOLDER/study, by default
    demo/study, where the examples of the other commands find it; the results appear under FOLDER/out. The first
    prediction compiles for about a minute.
    """
    from vmat_rt.study.predict import predict_study
    from vmat_rt.system.publish import published_folder
    from vmat_rt.system.samples import STUDY, sample

    study = folder / _STUDY
    if not study.exists():
        with published_folder(study) as temporary:
            copy_files(sample(STUDY), temporary)
    published = predict_study(study, folder / _OUT, device=device)
    if as_json:
        print_json(published.document().model_dump(mode="json"))
        return
    say(published.summary())
    say(f"\nThe study is in {study}. Open {published.files['report_html']} in a browser.")


def copy_files(source: Path, target: Path) -> None:
    """Every file below source, writable by the user who runs this, however it was installed."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
