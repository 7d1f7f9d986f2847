"""What every command shares: one JSON document on stdout, sentences and logs on stderr, exit codes."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never

import click

from vmat_rt.errors import ConfigError, InputError, VmatError, printable
from vmat_rt.gate.codes import ALLOWABLE
from vmat_rt.system.extras import MissingExtraError, as_missing_extra, require

SCHEMA_VERSION = 1
INTERNAL_ERROR = 4
STOPPED = 130
"""By Ctrl-C, as a shell has it: 128 and the number of the signal."""
_AGAIN = "Correct that and run the command again."

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
protocol_option = click.option(
    "--protocol",
    "protocol_name",
    metavar="NAME|FILE",
    help="Protocol by name, or your site's own YAML. Default: by ROIs.",
)
goals_option = click.option(
    "--goals",
    "goal_sets",
    metavar="NAMES",
    callback=lambda _context, _option, value: tuple(name.strip() for name in (value or "").split(",") if name.strip()),
    help="Goal sets of the protocol to judge, comma-separated. Default: those that it judges.",
)
structures_option = click.option("--structures", "structures_uid", metavar="UID", help="Choose an RTSTRUCT (SOP UID).")
series_option = click.option("--series", "series_uid", metavar="UID", help="Choose a CT series (Series UID).")

deidentified_option = click.option(
    "--accept-deidentified",
    "deidentified",
    is_flag=True,
    help="The set lost patients or frames of reference: link by study and geometry.",
)


def add_prescription_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --prescription NAME=GY (repeatable) and --fractions N; the command gets a dict and an int or None."""
    function = click.option("--fractions", type=click.IntRange(1, 200), help="Number of fractions.")(function)
    return click.option(
        "--prescription",
        multiple=True,
        metavar="TARGET=GY",
        callback=_parse_prescription,
        help="Total dose of a target, e.g. PTV_7000=70; repeat for each target.",
    )(function)


def _parse_prescription(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    doses: dict[str, float] = {}
    for value in values:
        name, _, dose = value.partition("=")
        try:
            doses[name.strip()] = float(dose)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not TARGET=GY, e.g. PTV_7000=70") from error
        if not 0 < doses[name.strip()] < 200 or not name.strip():
            raise click.BadParameter(f"{value!r} is not a target and a dose between 0 and 200 Gy")
    return doses


def guard(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn exceptions into a sentence on stderr, a JSON document when --json is given, and the exit code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        as_json = bool(kwargs.get("as_json"))
        try:
            return function(*args, **kwargs)
        except VmatError as error:
            _refuse(_collect_problems(error), error.exit_code, as_json)
        except click.ClickException:
            raise
        except KeyboardInterrupt:
            message = "stopped by Ctrl-C; what is finished is kept"
            remedy = "Go on by --resume." if "resume" in kwargs else "Run the same command again."
            problem = {"code": "STOPPED", "message": message, "remedy": remedy, "severity": "error"}
            _refuse([problem], STOPPED, as_json)
        except Exception as error:  # the boundary: what is not a VmatError is our own fault
            if isinstance(error, ModuleNotFoundError) and (absent := as_missing_extra(error)) is not None:
                _refuse(_collect_problems(absent), absent.exit_code, as_json)
            from vmat_rt.strict import reason

            logging.getLogger("vmat_rt").exception("internal error")
            problem = {
                "code": "INTERNAL_ERROR",
                "message": f"vmat-rt failed by its own fault: {type(error).__name__}: {reason(error)}",
                "remedy": "Please report it with the text above; the input was not changed.",
                "severity": "error",
            }
            _refuse([problem], INTERNAL_ERROR, as_json)

    return wrapper


def needs(*extras: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Refuse the command in a sentence where an extra that it needs is not installed; stands below `guard`."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            require(*extras, what=click.get_current_context().command_path)
            return function(*args, **kwargs)

        return wrapper

    return decorator


def allow_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--allow CODE`, for errors of the gate that a person has looked at; the codes arrive as a frozenset."""
    return click.option(
        "--allow",
        "allowed",
        multiple=True,
        type=click.Choice(ALLOWABLE),
        metavar="CODE",
        callback=lambda _context, _option, codes: frozenset(codes),
        help="Take this error about the anatomy as a warning; its message names the code.",
    )(function)


def _collect_problems(error: VmatError) -> list[dict[str, str]]:
    if isinstance(error, InputError):
        return [problem.as_dict() for problem in error.problems]
    if isinstance(error, MissingExtraError):
        remedy = f"Run: {error.command}"
        return [{"code": "EXTRA_MISSING", "message": error.sentence, "remedy": remedy, "severity": "error"}]
    code = "CONFIGURATION" if isinstance(error, ConfigError) else type(error).__name__
    remedy = _AGAIN if isinstance(error, ConfigError) else "Please report it; the input was not changed."
    return [{"code": code, "message": str(error), "remedy": remedy, "severity": "error"}]


def _refuse(problems: list[dict[str, str]], exit_code: int, as_json: bool) -> Never:
    print_problems(problems, exit_code)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "exit_code": exit_code, "problems": problems})
    sys.exit(exit_code)


def print_problems(problems: Sequence[Mapping[str, str]], exit_code: int, place: str = "") -> None:
    """A line on stderr for each problem; `place` says which of several inputs it is about."""
    # Not "Usage": that is for an option or argument, of which click says "Error" and how the command is used.
    headings = {2: "Error", 3: "Refused", STOPPED: "Ended"}
    for problem in problems:
        heading = "Not installed" if problem["code"] == "EXTRA_MISSING" else headings.get(exit_code, "Failed")
        sentence = problem["message"] if problem["message"].endswith((".", "!", "?")) else f"{problem['message']}."
        heading = f"{heading} {place}" if place else heading
        say(f"{heading}: {sentence} {problem['remedy']} [{problem['code']}]", err=True)


def print_usage_error(error: click.UsageError) -> None:
    """The document of a usage error; click itself writes the sentence to stderr."""
    problem = {"code": "USAGE", "message": error.format_message(), "remedy": "See --help.", "severity": "error"}
    print_json({"schema_version": SCHEMA_VERSION, "exit_code": error.exit_code, "problems": [problem]})


def say(text: str, err: bool = False) -> None:
    """Print text for a person. Names come from files: what would steer a terminal (PS3.5 allows ESC) is shown as ?."""
    click.echo(printable(text), err=err)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout; NaN is a bug and raises."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))
