"""The dose engine: how long it takes, and how it compares with pyRadPlan on the same fields of the same patient.

    python -m benchmarks.delivery [--pyradplan PYTHON] [--seed 1] [--index 0] [--json FILE]

Time: one simulated patient, 60 beams, 40 000 points spread over the body; best of several, wall and processor time.

With --pyradplan, the Python of an environment made by `pip install pyRadPlan "pydantic<2.14"`: open fields at four
gantry angles on a grid of 4 mm; every bixel that pyRadPlan opens has weight 1 in both. Both convert HU by the same
curve and start from the same kernels, so what is compared is the engine, not the machine. Correlation and scale are
over the body, gamma (3 % of the maximum, 3 mm, above 10 %) after one scale for all fields.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.geometry.beams import compute_centroid_mm
from vmat_rt.geometry.gridded import gridded
from vmat_rt.grid import Grid
from vmat_rt.metrics.gamma.index import gamma
from vmat_rt.phantom.anatomy.patient import simulate_patient
from vmat_rt.phantom.delivery.engine import DoseEngine, EngineSettings
from vmat_rt.phantom.delivery.machine import load_machine

REFEREE = Path(__file__).with_name("delivery_referee.py")
ANGLES_DEG = (0.0, 50.0, 90.0, 215.0)
BEAMS, POINTS = 60, 40_000
GRID_MM = 4.0
BIXEL_MM = 7.0


@dataclass(frozen=True)
class DeliveryScene:
    """What both engines are given: HU, body and target on one grid, and the isocentre."""

    ct: Volume
    body: NDArray[np.bool_]
    target: Volume

    @property
    def isocentre_mm(self) -> tuple[float, float, float]:
        return compute_centroid_mm(self.target)

    def engine(self, angles_deg: tuple[float, ...], settings: EngineSettings) -> DoseEngine:
        machine = load_machine()
        density = machine.electron_density(self.ct, self.body)
        return DoseEngine(machine, density, self.target, self.isocentre_mm, angles_deg, settings)


@dataclass(frozen=True)
class Agreement:
    """One open field against the referee's."""

    angle_deg: float
    bixels: int
    correlation: float
    scale: float
    gamma_percent: float
    seconds: float
    referee_seconds: float


def make_scene(case: Case, spacing_mm: float) -> DeliveryScene:
    ct = case.ct.grid
    shape = tuple(int(n * s / spacing_mm) for n, s in zip(ct.shape, ct.spacing_mm, strict=True))
    start = tuple(low + spacing_mm / 2 for low in ct.bounds_mm[0])
    grid = Grid(shape, (spacing_mm,) * 3, start, ct.frame_uid)
    placed = gridded(case, grid)
    return DeliveryScene(
        placed.ct, _require_voxels(placed.body).array >= 0.5, _require_voxels(placed.structures["PTV_7000"])
    )


def _require_voxels(structure: Structure) -> Volume:
    if not isinstance(structure.shape, Volume):
        raise TypeError(f"{structure.roi_name} of a simulated patient should be voxels")
    return structure.shape


def time_best(times: int, work: Callable[[], object]) -> dict[str, float]:
    wall, processor = [], []
    for _ in range(times):
        start = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return {"wall_s": min(wall), "processor_s": min(processor)}


def measure_speed(scene: DeliveryScene) -> dict[str, dict[str, float]]:
    """Seconds of every step of a plan."""
    angles = tuple(360.0 * k / BEAMS for k in range(BEAMS))
    engine = scene.engine(angles, EngineSettings(BIXEL_MM))
    rng = np.random.default_rng(0)
    body = np.argwhere(scene.body)
    chosen = np.sort(rng.choice(len(body), min(POINTS, len(body)), replace=False))
    points = body[chosen] * np.asarray(scene.ct.grid.spacing_mm) + scene.ct.grid.origin_mm
    influence = engine.influence(points)
    weights, gradient = rng.random(engine.bixels), rng.standard_normal(len(points))
    influence.adjoint(influence.forward(weights))
    steps = {
        f"engine, {BEAMS} beams, {engine.bixels} bixels": time_best(
            3, lambda: scene.engine(angles, EngineSettings(BIXEL_MM))
        ),
        f"influence on {len(points)} points": time_best(3, lambda: engine.influence(points)),
        "forward": time_best(10, lambda: influence.forward(weights)),
        "adjoint": time_best(10, lambda: influence.adjoint(gradient)),
        f"dose on {len(body)} voxels": time_best(3, lambda: engine.dose(weights, scene.ct.grid, scene.body)),
    }
    print(f"\n| step | wall s | processor s |\n|---|---|---|\n{_write_rows(steps)}")
    return steps


def _write_rows(steps: dict[str, dict[str, float]]) -> str:
    return "\n".join(f"| {name} | {t['wall_s']:.3f} | {t['processor_s']:.3f} |" for name, t in steps.items())


def run_referee(scene: DeliveryScene, python: str) -> dict[str, NDArray[np.generic]]:
    """What the referee makes of the scene, see delivery_referee.py."""
    with tempfile.TemporaryDirectory() as folder:
        case, result = Path(folder, "case.npz"), Path(folder, "result.npz")
        np.savez(
            case,
            hu=scene.ct.array,
            body=scene.body,
            target=scene.target.array >= 0.5,
            origin_mm=np.asarray(scene.ct.grid.origin_mm),
            spacing_mm=np.asarray(scene.ct.grid.spacing_mm),
            isocentre_mm=np.asarray(scene.isocentre_mm),
            angles_deg=np.asarray(ANGLES_DEG),
            bixel_mm=BIXEL_MM,
        )
        subprocess.run([python, str(REFEREE), str(case), str(result)], check=True, stderr=subprocess.DEVNULL)
        return dict(np.load(result))


def compute_our_field(scene: DeliveryScene, angle_deg: float, rays_mm: NDArray[np.float64]) -> tuple[Volume, float]:
    """Dose of the same bixels, and the seconds it took from the CT on."""
    start = time.perf_counter()
    engine = scene.engine((angle_deg,), EngineSettings(BIXEL_MM, margin_mm=3 * BIXEL_MM))
    index = {tuple(place): n for n, place in enumerate(np.rint(engine.bixel_centres_mm(0) / BIXEL_MM).astype(int))}
    weights = np.zeros(engine.bixels)
    weights[[index[tuple(place)] for place in np.rint(rays_mm / BIXEL_MM).astype(int)]] = 1
    dose = engine.dose(weights, scene.ct.grid, scene.body)
    return dose, time.perf_counter() - start


def measure_agreement(scene: DeliveryScene, python: str) -> dict[str, object]:
    """Table of the four fields."""
    theirs = run_referee(scene, python)
    rays = [theirs["rays"][theirs["rays"][:, 0] == beam, 1:] for beam in range(len(ANGLES_DEG))]
    ours = [compute_our_field(scene, angle, ray) for angle, ray in zip(ANGLES_DEG, rays, strict=True)]
    inside = np.stack([dose.array[scene.body] for dose, _ in ours]).astype(np.float64)
    reference = np.stack([dose[scene.body] for dose in theirs["dose"]]).astype(np.float64)
    whole = float((inside * reference).sum() / (reference**2).sum())
    found = []
    for beam, angle in enumerate(ANGLES_DEG):
        dose, seconds = ours[beam]
        judged = Volume(scene.ct.grid, np.where(scene.body, theirs["dose"][beam], 0).astype(np.float32))
        scaled = Volume(scene.ct.grid, (dose.array / whole).astype(np.float32))
        found.append(
            Agreement(
                angle_deg=angle,
                bixels=len(rays[beam]),
                correlation=float(np.corrcoef(inside[beam], reference[beam])[0, 1]),
                scale=float(inside[beam] @ reference[beam] / (reference[beam] @ reference[beam])),
                gamma_percent=float(gamma(judged, scaled).pass_rate_percent or 0),
                seconds=seconds,
                referee_seconds=float(theirs["seconds"][beam]),
            )
        )
    print(f"\n{theirs['name']}, scale of all fields {whole:.4f}\n")
    print(
        "| gantry | bixels | correlation | scale | gamma 3 %/3 mm | ours s | theirs s |\n|---|---|---|---|---|---|---|"
    )
    for row in found:
        print(
            f"| {row.angle_deg:.0f} | {row.bixels} | {row.correlation:.5f} | {row.scale:.4f} |"
            f" {row.gamma_percent:.2f} % | {row.seconds:.2f} | {row.referee_seconds:.1f} |"
        )
    return {"referee": str(theirs["name"]), "scale": whole, "fields": [asdict(row) for row in found]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pyradplan", metavar="PYTHON", help="interpreter of an environment with pyRadPlan")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--index", type=int, default=0)
    options.add_argument("--json", type=Path, help="also write the figures here")
    chosen = options.parse_args()
    case = simulate_patient(chosen.seed, chosen.index).case
    results: dict[str, object] = {"case": case.key, "speed": measure_speed(make_scene(case, GRID_MM))}
    if chosen.pyradplan:
        results["agreement"] = measure_agreement(make_scene(case, GRID_MM), chosen.pyradplan)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
