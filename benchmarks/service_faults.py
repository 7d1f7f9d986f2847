"""Faults of hospital and disk, done to a running service again and again: what was lost, partial, there twice.

    python benchmarks/service_faults.py --times 3

Each fault is that of tests/service/faults.py, on a service of its own with real predictions by a small geometric
bundle. What needs a mount is left out where this machine does not allow one. Exit code 1 when anything was lost,
partial or there twice, or a service ended by itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.service.conftest import QUICK, Site
from tests.service.faults import FAULTS
from tests.service.model import tiny_bundle, write_protocol
from tests.service.running import CannotMountError, Cost
from vmat_rt_service.config import load_config
from vmat_rt_service.journal.jobs import Journal


def make_site(root: Path, bundle: Path) -> Site:
    """A service's folders, empty."""
    root.mkdir(parents=True)
    (root / "inbox").mkdir()
    places = {"inbox": root / "inbox", "outbox": root / "outbox"}
    config = load_config(None, **places, model=str(bundle), protocol=str(write_protocol(root)), **QUICK)
    for folder in (config.outbox, config.staging):
        folder.mkdir(parents=True)
    config.save()
    return Site(root, config, Journal(config.journal))


def repeat(name: str, times: int, bundle: Path) -> tuple[int, int, Cost]:
    """How often a fault was tried, how often what must hold did not, and what all of it cost."""
    total, tried, failed = Cost(), 0, 0
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="vmat-rt-fault-", ignore_cleanup_errors=True) as folder:
            site = make_site(Path(folder, "site"), bundle)
            try:
                cost = FAULTS[name](site)
            except CannotMountError:
                return tried, failed, total
            except AssertionError:
                traceback.print_exc()
                failed += 1
                cost = Cost()
            finally:
                for _intake, reader in site.intakes:
                    reader.stop()
        tried += 1
        total = Cost(
            total.lost + cost.lost, total.partial + cost.partial, total.duplicated + cost.duplicated,
            total.down_s + cost.down_s,
        )  # fmt: skip
    return tried, failed, total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    options = parser.parse_args()
    bad = False
    with tempfile.TemporaryDirectory(prefix="vmat-rt-model-") as folder:
        bundle = tiny_bundle(Path(folder)).folder
        print("| fault | times | lost | partial | duplicated | service down (s) | not as it must be |")
        print("|---|---|---|---|---|---|---|")
        for name in FAULTS:
            if options.only not in name:
                continue
            tried, failed, cost = repeat(name, options.times, bundle)
            figures = (tried, cost.lost, cost.partial, cost.duplicated, f"{cost.down_s:.1f}", failed)
            print(f"| {name} | {' | '.join(map(str, figures))} |", flush=True)
            bad = bad or bool(failed) or cost != Cost()
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
