"""Packed doses against the lossless codecs of others: `python benchmarks/dose_code.py [--every 4] [--openkbp FOLDER]`.

Every dose is the same whole numbers of 0.01 Gy for all sides, and every side must give them back, which is asserted.
Sides take turns; lossless_codecs.py says what their names mean. Size is that of all files together, as a multiple of
ours. Ours carries its header and checksum, the others nothing. Times are processor milliseconds per dose, all threads
of a side together, the mean over the doses.

Needs, beside vmat-rt: blosc2, imagecodecs, pcodec, pyjpegls, zfpy, zstandard. A side whose package is not installed is
named and left out. To measure the code of an older commit, run this file with PYTHONPATH on a checkout of it and
--doses on its files.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from lossless_codecs import Side, Steps, sides

from vmat_rt.case import Volume
from vmat_rt.cohort.dose_code import pack_dose, round_to_steps, unpack_dose
from vmat_rt.cohort.openkbp import OpenKbpPatient, make_openkbp_case

ROOT = Path(__file__).resolve().parent.parent
DOSES = ROOT / "sample_data" / "prostate_cohort" / "doses"
OPENKBP = ROOT.parent / "shared" / "openkbp"
OURS = "vmat_rt.cohort.dose_code"
FRAME = "1.2.3"


@dataclass
class Tally:
    size: int = 0
    pack_s: float = 0.0
    unpack_s: float = 0.0


@dataclass
class CodeTable:
    """What every side needed for the doses of one source."""

    doses: int = 0
    voxels: int = 0
    """Those with a dose."""
    tallies: dict[str, Tally] = field(default_factory=dict)


def measure(doses: Iterable[Volume], others: list[Side]) -> CodeTable:
    table = CodeTable()
    for dose in doses:
        steps = np.ascontiguousarray(round_to_steps(dose, 0.01).astype(np.uint16))
        table.doses += 1
        table.voxels += int(np.count_nonzero(steps))
        # What others leave out, ours does too: here is nothing but the dose on its own grid.
        ours = Side(OURS, "", partial(_pack, dose), _unpack)
        for side in (ours, *others):
            _add(table.tallies.setdefault(side.name, Tally()), side, steps)
    return table


def _pack(dose: Volume, _: Steps) -> bytes:
    return pack_dose(dose)


def _unpack(packed: bytes, _: tuple[int, ...]) -> Steps:
    steps: Steps = round_to_steps(unpack_dose(packed, FRAME), 0.01).astype(np.uint16)
    return steps


def _add(tally: Tally, side: Side, steps: Steps) -> None:
    started = time.process_time()
    packed = side.pack(steps)
    between = time.process_time()
    back = side.unpack(packed, steps.shape)
    tally.unpack_s += time.process_time() - between
    tally.pack_s += between - started
    tally.size += len(packed)
    assert np.array_equal(back, steps), f"{side.name} gave back another dose"


def read_shipped_doses(folder: Path, every: int) -> Iterator[Volume]:
    for path in sorted(folder.glob("*.dose"))[::every]:
        yield unpack_dose(path.read_bytes(), FRAME)


def read_openkbp_doses(folder: Path, count: int) -> Iterator[Volume]:
    """The first patients that have validation doses, on 128^3 voxels."""
    sys.path.insert(0, str(folder))
    reader = importlib.import_module("read_openkbp")
    for path in sorted((folder / "validation").glob("*.npz.xz"))[:count]:
        case = make_openkbp_case(OpenKbpPatient.from_arrays(reader.read_patient(path)), path.name)
        assert case.reference_dose is not None
        yield case.reference_dose


def show(title: str, table: CodeTable) -> None:
    ours = table.tallies[OURS]
    bits = 8 * ours.size / table.voxels
    print(f"\n{title}: {table.doses} doses, {table.voxels} voxels that have one")
    print(f"ours: {ours.size} bytes, {bits:.2f} bits per voxel")
    print("\n| codec | size, x ours | pack, ms (x ours) | unpack, ms (x ours) |\n|---|---|---|---|")
    for name, tally in sorted(table.tallies.items(), key=lambda item: item[1].size):
        packing, unpacking = (1000 * s / table.doses for s in (tally.pack_s, tally.unpack_s))
        times = (
            f"{packing:.0f} ({tally.pack_s / ours.pack_s:.2f}) | {unpacking:.0f} ({tally.unpack_s / ours.unpack_s:.2f})"
        )
        print(f"| {name} | {tally.size / ours.size:.3f} | {times} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doses", type=Path, default=DOSES)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th of the shipped doses")
    parser.add_argument("--openkbp", type=Path, default=OPENKBP)
    parser.add_argument("--patients", type=int, default=4, help="of OpenKBP's validation part")
    parser.add_argument("--only", default="", help="regular expression of the names to measure beside ours")
    options = parser.parse_args()
    others = sides(options.only)
    unpack_dose(pack_dose(next(read_shipped_doses(options.doses, 1))), FRAME)  # compiled
    show("Shipped simulated prostates", measure(read_shipped_doses(options.doses, options.every), others))
    if (options.openkbp / "read_openkbp.py").is_file():
        show("OpenKBP", measure(read_openkbp_doses(options.openkbp, options.patients), others))
    else:
        print(f"\nOpenKBP is not in {options.openkbp}: left out")


if __name__ == "__main__":
    main()
