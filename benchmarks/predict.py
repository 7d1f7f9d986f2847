"""The whole job on a 512 x 512 x 120 study, against rt-utils only turning the same ROIs into masks. One run, one table.

    python benchmarks/predict.py [--study DIR] [--repeat 3]

The study is made from sample_data/head_neck_openkbp: its CT resampled to 512 x 512 x 120, its structures rasterised
there and traced again, so every contour lies on a slice and refers to it, as rt-utils needs. Each program runs in a
process of its own; wall time and peak memory are those of the whole process, interpreter start-up included. The first
run of `vmat-rt predict` gets an empty kernel cache: it compiles what later runs find there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data" / "head_neck_openkbp"
SHAPE = (120, 512, 512)

RT_UTILS = """
import sys
from pathlib import Path
from rt_utils import RTStructBuilder
folder = Path(sys.argv[1])
rtstruct = RTStructBuilder.create_from(
    dicom_series_path=str(folder / "CT"), rt_struct_path=str(folder / "RTSTRUCT.dcm")
)
for name in rtstruct.get_roi_names():
    rtstruct.get_roi_mask_by_name(name)
"""


@dataclass(frozen=True)
class ProgramRun:
    """One process: wall seconds and peak resident memory in GB."""

    seconds: float
    peak_gb: float


def build_study(folder: Path) -> None:
    """Write the 512 x 512 x 120 study."""
    import numpy as np

    from vmat_rt.case import Structure, Volume
    from vmat_rt.dicom.load import load_case
    from vmat_rt.dicom.study import read_study
    from vmat_rt.dicom.write.export import export_case
    from vmat_rt.geometry.rasterize import structure_fraction
    from vmat_rt.geometry.resample import resample
    from vmat_rt.grid import centred_grid
    from vmat_rt.protocol import load_protocol

    case = load_case(read_study(SAMPLE), load_protocol("head_neck_70"))
    old = case.ct.grid
    extent = [n * s for n, s in zip(old.shape, old.spacing_mm, strict=True)]
    spacing = (extent[0] / SHAPE[0], extent[1] / SHAPE[1], extent[2] / SHAPE[2])
    grid = centred_grid(SHAPE, spacing, old.centre_mm, old.frame_uid)

    def place_on_grid(structure: Structure) -> Structure:
        fraction = structure_fraction(structure, grid)
        return replace(structure, shape=Volume(grid, np.asarray(fraction > 0.5, np.float32)))

    ct = resample(case.ct, grid, -1000.0)
    structures = {name: place_on_grid(structure) for name, structure in case.structures.items()}
    large = replace(case, ct=ct, structures=structures, body=place_on_grid(case.body), reference_dose=None)
    export_case(large, folder)


def measure(command: list[str], **environment: str) -> ProgramRun:
    """Run a command to its end, with these variables added. Raises CalledProcessError when it fails."""
    probe = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", probe, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    return ProgramRun(time.perf_counter() - start, int(done.stdout.split()[-1]) / 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="reuse a study built before")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = options.study or Path(scratch) / "study"
        if not study.exists():
            build_study(study)
        vmat_rt = str(Path(sys.executable).parent / "vmat-rt")
        predict = [vmat_rt, "predict", str(study), "--out", str(Path(scratch) / "out")]
        first = measure(predict, NUMBA_CACHE_DIR=str(Path(scratch) / "kernels"))
        ours = [measure(predict) for _ in range(options.repeat)]
        peer = [measure([sys.executable, "-c", RT_UTILS, str(study)]) for _ in range(options.repeat)]
        help_runs = [measure([vmat_rt, "--help"]) for _ in range(options.repeat)]
    rows = [
        ("vmat-rt predict, first run", first),
        ("vmat-rt predict, whole job", min(ours, key=lambda run: run.seconds)),
        ("rt-utils, masks of all ROIs only", min(peer, key=lambda run: run.seconds)),
        ("vmat-rt --help", min(help_runs, key=lambda run: run.seconds)),
    ]
    print(f"{'512 x 512 x 120 study, best of ' + str(options.repeat):<42}{'wall s':>8}{'peak GB':>9}")
    for name, run in rows:
        print(f"{name:<42}{run.seconds:8.2f}{run.peak_gb:9.2f}")
    print(f"ratio rt-utils / vmat-rt predict: {rows[2][1].seconds / rows[1][1].seconds:.2f} in time")


if __name__ == "__main__":
    main()
