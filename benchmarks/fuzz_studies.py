"""Mutations of a small study through the command line: what comes of each, counted.

    python benchmarks/fuzz_studies.py 1000 [FIRST_SEED]

Right means that nothing was said, warned that problems stand in the answer, refused exit code 3 (or 2). Anything else
is wrong: another exit code, a traceback, more than 2 GB or 60 s of processor time. `inspect` and `dvh` run in children
that are forked from a process that has imported them, so that memory and time are those of the study alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from click.testing import CliRunner  # noqa: E402

import vmat_rt.commands.dvh  # noqa: E402
import vmat_rt.commands.inspect  # noqa: E402
import vmat_rt.study.inspection  # noqa: E402
import vmat_rt.study.review  # noqa: E402, F401
from tests.dicom_phantom import write_study  # noqa: E402
from tests.dicom_phantom.mutations import mutate  # noqa: E402
from vmat_rt.cli import main as cli  # noqa: E402

MOST_GB, MOST_SECONDS = 2.0, 60.0


def outcome_of(arguments: list[str]) -> str:
    """right, warned, refused, or what went wrong, of one command."""
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    if "Traceback" in result.output or result.exit_code not in (0, 2, 3):
        return f"WRONG exit {result.exit_code}: {result.output[-300:]}"
    if result.exit_code:
        return "refused"
    document = json.loads(result.stdout)
    problems = [p for study in document.get("studies", [document]) for p in study.get("problems", [])]
    if any(problem["severity"] == "error" for problem in problems):
        return "refused"
    return "warned" if problems else "right"


def run_apart(arguments: list[str]) -> tuple[str, float, float]:
    """The outcome in a forked child, its processor seconds and GB."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            said = outcome_of(arguments)
        except BaseException:
            said = f"WRONG {traceback.format_exc()[-300:]}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode() or "WRONG died"
    _, _, used = os.wait4(child, 0)
    return said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main() -> None:
    """Print the counts, and every mutation that came out wrong with its seed."""
    number, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[tuple[str, str]] = Counter()
    worst_s = worst_gb = 0.0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        base, study = Path(scratch, "base"), Path(scratch, "study")
        phantom = write_study(base, plan=True, dose=True)
        for seed in range(first, first + number):
            shutil.rmtree(study, ignore_errors=True)
            shutil.copytree(base, study)
            kind = mutate(study, seed)
            dose = study / phantom.dose_file.name
            commands = [["inspect", str(study)]] + ([["dvh", str(study), "--dose", str(dose)]] if dose.exists() else [])
            for command in commands:
                said, seconds, gigabytes = run_apart(command)
                worst_s, worst_gb = max(worst_s, seconds), max(worst_gb, gigabytes)
                if said.startswith("WRONG") or seconds > MOST_SECONDS or gigabytes > MOST_GB:
                    print(f"seed {seed} ({kind}) {command[0]}: {said} {seconds:.0f} s {gigabytes:.2f} GB", flush=True)
                    said = "WRONG"
                counts[command[0], said] += 1
    for (command, said), count in sorted(counts.items()):
        print(f"{command:<8} {said:<8} {count}")
    print(f"{number} mutations, at most {worst_s:.1f} s and {worst_gb:.2f} GB; {time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
