"""`vmat-rt watch`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmat_rt.commands.common import guard, needs, say

_WORK_LEFT = 4


@click.command(epilog="Example: vmat-rt watch INBOX --out OUTBOX --once")
@click.argument("inbox", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", "outbox", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@click.option("--once", is_flag=True, help="Process what is complete and exit.")
@click.option(
    "--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML file."
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Default: OUTBOX/.vmat-rt.")
@click.option("--port", "web_port", type=click.IntRange(0, 65535), help="Port of the status page. Default: 8765.")
@click.option(
    "--listen",
    "port",
    type=click.IntRange(0, 65535),
    help="Receive studies over DICOM on this port of this machine; from others: listen in the YAML file.",
)
@click.option("--ae", "ae_title", help="AE title of the DICOM node. Default: VMATRT.")
@guard
@needs("service")
def command(
    inbox: Path | None,
    outbox: Path | None,
    once: bool,
    config_file: Path | None,
    state: Path | None,
    web_port: int | None,
    port: int | None,
    ae_title: str | None,
) -> None:
    """Watch INBOX and predict every study as soon as it is complete.

    Results appear in OUTBOX/<case>, reasons in OUTBOX/refused/<case>. Logs are JSON lines on stderr.
    """
    from vmat_rt_service.config import load_config
    from vmat_rt_service.logs import start_logging
    from vmat_rt_service.network.companion import make_companions
    from vmat_rt_service.supervisor import serve
    from vmat_rt_service.web.health import Pulse
    from vmat_rt_service.web.server import StatusServer

    if ae_title is not None and port is None and config_file is None:
        raise click.UsageError("--ae names the node that --listen PORT starts.")
    if once and port is not None:
        raise click.UsageError("--once processes what is there; it does not listen.")
    listen, web = {"port": port, "ae_title": ae_title}, {"port": web_port}
    config = load_config(config_file, inbox=inbox, outbox=outbox, state=state, listen=listen, web=web)
    start_logging()
    pulse = Pulse()
    page = [StatusServer(config, pulse)] if config.web.enabled and not once else []
    if not serve(config, once, [*page, *make_companions(config, once, pulse.report)], pulse):
        why = f"`vmat-rt jobs --state {config.state}` says why"
        say(f"Work is left: a disk is full or a folder is not there; {why}.", err=True)
        sys.exit(_WORK_LEFT)
