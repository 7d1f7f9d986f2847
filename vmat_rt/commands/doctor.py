"""`vmat-rt doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say
from vmat_rt.errors import printable

if TYPE_CHECKING:
    from vmat_rt_service.doctor.findings import Finding

_FAILED = 3
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(epilog="Example: vmat-rt doctor --config /etc/vmat-rt/service.yaml")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The service's YAML file. Without it only the machine, the protocols and the models are looked at.",
)
@json_option
@guard
def command(config_file: Path | None, as_json: bool) -> None:
    """Check this machine and a service's configuration, with a remedy for whatever is wrong.

    Looks at device, compiler cache, protocols, models, clock, memory, folders, free disk, ports and destinations
    (TCP and DICOM echo). Exit code 0, or 3 when anything fails.
    """
    from vmat_rt_service.config import load_config
    from vmat_rt_service.doctor.examination import examine, examine_machine
    from vmat_rt_service.doctor.findings import find_worst

    found: list[Finding] = []
    for finding in examine(load_config(config_file)) if config_file else examine_machine():
        found.append(finding)
        if not as_json:
            _print(finding)
    status = find_worst(found)
    if as_json:
        checks = [finding.as_dict() for finding in found]
        print_json({"schema_version": SCHEMA_VERSION, "status": status, "checks": checks})
    sys.exit(_FAILED if status == "fail" else 0)


def _print(finding: Finding) -> None:
    mark = click.style(f"{finding.status:4}", fg=_COLOURS[finding.status], bold=finding.status != "ok")
    click.echo(f"{mark}  {printable(f'{finding.name}: {finding.detail}')}")  # the mark's colour is our own
    if finding.remedy:
        say(f"      {finding.remedy}")
