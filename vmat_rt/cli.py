"""`vmat-rt`: the composition root. Each command lives in vmat_rt/commands and is imported only when it is used."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

_COMMANDS = {
    "demo": "Predict a sample study that comes with vmat-rt, and say where the report is.",
    "predict": "Predict the dose of one study: RTDOSE, companion RTPLAN and report.",
    "inspect": "Say what is in a folder: series, structures, prescription, problems.",
    "dvh": "DVH metrics and planning goals of any RTDOSE over a study's structures.",
    "gamma": "Gamma index of one RTDOSE against another.",
    "compare": "Compare evaluation results with paired tests.",
    "models": "List the installed models, what they were trained on and their limits.",
    "watch": "Watch a folder and predict every study as soon as it is complete.",
    "jobs": "List the jobs of a watching service, and run one again.",
    "audit": "Verify the audit log of a service.",
    "replay": "Compute a job of a service again and compare the RTDOSE bit for bit.",
    "cohort": "Make cohorts of cases, look at them, divide them, export from them.",
    "train": "Train a model on a cohort: recipe in, run folder with a bundle out.",
    "evaluate": "Evaluate models on a cohort's cases, against clinical dose and the geometric baseline.",
    "bands": "Intervals that hold what they promise, from cases that a model has not seen.",
    "report": "Report on evaluations: one HTML page with its figures.",
    "doctor": "Check this machine and a service's configuration before the first study arrives.",
}


_JSON_ASKED = "vmat_rt.json"


class _LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"vmat_rt.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a word that is none say which one is meant."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, n=2)
            meant = f" Did you mean {' or '.join(near)}?" if near else " See vmat-rt --help."
            context.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(context, args)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[_JSON_ASKED] = "--json" in args
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        """Run the command. With --json a usage error, too, is a document on stdout beside click's text on stderr."""
        try:
            return super().invoke(context)
        except click.UsageError as error:
            if context.meta[_JSON_ASKED]:
                from vmat_rt.commands.common import print_usage_error

                print_usage_error(error)
            raise

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vmat-rt")
def main() -> None:
    """Predicted radiotherapy dose from CT and structures. PREDICTED, NOT FOR TREATMENT.

    \b
    Exit codes: 0 done, 2 usage or configuration, 3 input refused, 4 internal error, 130 ended by Ctrl-C.
    Example: vmat-rt demo, and then vmat-rt inspect demo/study
    """  # noqa: D301 - click reads the backspace


if __name__ == "__main__":
    main()
