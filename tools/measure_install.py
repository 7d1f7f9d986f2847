"""What an installation costs: `python tools/measure_install.py [--revision REV] [EXTRAS ...]`.

EXTRAS are `base` or names of extras joined by commas, e.g. `base network all`. For each: a wheel of the working tree
(or of REV) is built, everything that it needs is downloaded, and then a fresh virtual environment is filled from those
files, so that the seconds are those of unpacking and not of the line; those of the processor tell an install on a busy
machine from a slow one. Megabytes are 10^6 bytes, of files as they are.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7
PROGRAMS = {
    "import vmat_rt": ["-c", "import vmat_rt"],
    "vmat-rt --help": ["-m", "vmat_rt.cli", "--help"],
    "nothing (python alone)": ["-c", "pass"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", default=["base"], metavar="EXTRAS")
    parser.add_argument("--revision", help="a commit to measure instead of the working tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vmat-rt-install-") as scratch:
        folder = Path(scratch)
        source = check_out(options.revision, folder / "source") if options.revision else ROOT
        (wheel,) = build(source, folder / "wheel")
        print(f"{wheel.name} of {options.revision or 'the working tree'}: {wheel.stat().st_size / 1e6:.1f} MB")
        print("| extras | packages | download MB | on disk MB | seconds to install | of the processor |")
        print("|---|---|---|---|---|---|")
        for extras in options.extras:
            python = install(wheel, extras, folder / extras.replace(",", "-"))
        print(f"\nBest of {RUNS} starts with the last of these: seconds, and those of the processor")
        for name, arguments in PROGRAMS.items():
            wall, busy = map(min, zip(*(time_seconds([python, *arguments]) for _ in range(RUNS)), strict=True))
            print(f"  {name:<24} {wall:.3f} {busy:.3f}")


def check_out(revision: str, folder: Path) -> Path:
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def build(source: Path, folder: Path) -> list[Path]:
    make_pip_command(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, source)
    return list(folder.glob("*.whl"))


def install(wheel: Path, extras: str, folder: Path) -> Path:
    """A fresh environment with the wheel and its extras; prints one line. Returns its python."""
    wanted = str(wheel) if extras == "base" else f"{wheel}[{extras}]"
    files, home = folder / "files", folder / "venv"
    make_pip_command(sys.executable, "download", "--dest", files, *list_constraints(), wanted)
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    (packages,) = home.glob("lib/python*/site-packages")
    before_mb, before = measure_megabytes(packages), len(list(packages.glob("*.dist-info")))
    started, busy = time.perf_counter(), read_processor_seconds()
    make_pip_command(python, "install", "--no-index", "--find-links", files, *list_constraints(), wanted)
    took, worked = time.perf_counter() - started, read_processor_seconds() - busy
    count = len(list(packages.glob("*.dist-info"))) - before
    on_disk = measure_megabytes(packages) - before_mb
    print(
        f"| {extras} | {count} | {measure_megabytes(files):.0f} | {on_disk:.0f} | {took:.0f} | {worked:.0f} |",
        flush=True,
    )
    return python


def list_constraints() -> list[str | Path]:
    """The tested versions, also for a revision that had no list of them."""
    return ["--constraint", ROOT / "constraints.txt"]


def make_pip_command(python: str | Path, *arguments: str | Path) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def measure_megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def read_processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_seconds(command: list[str | Path]) -> tuple[float, float]:
    """From start to end, and of the processor."""
    started, busy = time.perf_counter(), read_processor_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir(), env=drop_path())
    return time.perf_counter() - started, read_processor_seconds() - busy


def drop_path() -> dict[str, str]:
    """The environment without PYTHONPATH, which would put a checkout before what was installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


if __name__ == "__main__":
    main()
