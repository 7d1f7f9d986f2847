"""Fits the geometric baseline on the training cases of a cohort, scores it on the others and writes the bundle.

    python tools/fit_geometric.py COHORT [--seed 42] [--no-beams] [--bundle FOLDER] [--json FILE]

COHORT is a store with splits.yaml (`vmat-rt cohort split`). Its outliers (prosthesis, spacer) are not fitted on and are
scored apart. Every tenth training case decides when to stop. Scores are on the cohort's grid, where the model predicts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from vmat_rt.baseline.boosting import TREES, GeometricPredictor
from vmat_rt.baseline.fit import FitSettings, Fitted, fit
from vmat_rt.baseline.scene import FeatureSettings, choose_features
from vmat_rt.bundle import Manifest, TrainingSummary, training_cases, write_bundle
from vmat_rt.case import Case, FloatArray, Structure, Volume
from vmat_rt.cohort.split import Part, Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.learned import learned_from
from vmat_rt.metrics.dose_error import compute_d95_gaps_gy, compute_dose_errors
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.protocol import load_protocol

PLAN = FitSettings(drop_organs=0.3)
BUNDLES = Path(__file__).resolve().parent.parent / "vmat_rt" / "bundles"
IMPORTANCE = {"Rectum": 0.15, "Bladder": 0.08, "Femur_Head_L": 0.05, "Femur_Head_R": 0.05, "Bag_Bowel": 0.08}
"""What planners of a pelvis pay attention to; the quick inverse plan spares these organs more than other tissue."""

DVH_METRICS = {
    "Rectum": ("V50Gy", "V60Gy", "V70Gy", "Dmean"),
    "Bladder": ("V50Gy", "V65Gy", "Dmean"),
    "Femur_Head_L": ("D0.03cc", "Dmean"),
    "Femur_Head_R": ("D0.03cc", "Dmean"),
    "Bag_Bowel": ("D0.03cc", "V45Gy[cc]"),
    "PenileBulb": ("Dmean",),
}


@dataclass(frozen=True)
class GeometricScore:
    """Of one case: mean absolute dose error by region, gaps of D95, absolute differences of DVH metrics; seconds."""

    regions_gy: dict[str, float]
    d95_gaps_gy: dict[str, float]
    dvh: dict[str, float]
    seconds: float


def read_cases(cohort: Cohort, keys: Iterable[str]) -> Iterator[Case]:
    for key in keys:
        yield cohort.read(key)


def score_case(case: Case, predictor: GeometricPredictor) -> GeometricScore:
    assert case.reference_dose is not None
    started = time.perf_counter()
    dose = predictor.predict(case, case.ct.grid).dose
    seconds = time.perf_counter() - started
    organs = {name: s for name, s in case.structures.items() if isinstance(s.shape, Volume)}
    fractions = {name: require_voxels(s) for name, s in organs.items()}
    errors = compute_dose_errors(case.reference_dose, dose, require_voxels(case.body), fractions, tuple(case.targets()))
    gaps = compute_d95_gaps_gy({name: case.structures[name] for name in case.targets()}, case.reference_dose, dose)
    return GeometricScore(
        {name: error.mae_gy for name, error in errors.items() if error is not None},
        {name: gap for name, gap in gaps.items() if gap is not None},
        compute_dvh_differences(case, dose),
        seconds,
    )


def require_voxels(structure: Structure) -> FloatArray:
    assert isinstance(structure.shape, Volume), f"{structure.name} has no voxels"
    return structure.shape.array


def compute_dvh_differences(case: Case, dose: Volume) -> dict[str, float]:
    """|predicted - planned| of each metric, by "STRUCTURE METRIC"."""
    assert case.reference_dose is not None
    wanted = {name: metrics for name, metrics in DVH_METRICS.items() if name in case.structures}
    structures = [case.structures[name] for name in wanted]
    both = [compute_dvhs(structures, each) for each in (dose, case.reference_dose)]
    prescribed = case.prescription.highest_gy
    differences = {}
    for name, metrics in wanted.items():
        for metric in metrics:
            ours, theirs = (dvhs[name].value(metric, prescribed) for dvhs in both)
            if ours is not None and theirs is not None:
                differences[f"{name} {metric}"] = abs(ours - theirs)
    return differences


def average(scores: list[GeometricScore]) -> dict[str, float]:
    """Mean over the cases of each region's error, of each |D95 gap| and of each DVH metric's difference."""
    pooled: dict[str, list[float]] = {}
    for score in scores:
        entries = {f"mae_gy {name}": value for name, value in score.regions_gy.items()}
        entries |= {f"d95_gap_gy {name}": abs(value) for name, value in score.d95_gaps_gy.items()}
        entries |= {f"difference {name}": value for name, value in score.dvh.items()}
        entries["seconds"] = score.seconds
        for name, value in entries.items():
            pooled.setdefault(name, []).append(value)
    return {name: round(float(np.mean(values)), 4) for name, values in pooled.items()} | {"cases": len(scores)}


def describe(cohort: Cohort, keys: tuple[str, ...], command: str) -> TrainingSummary:
    """What the model was fitted on; simulated patients are said to be simulated before anything else."""
    provenance = cohort.settings.provenance
    flags = Counter("nodal" if cohort.record(key).nodal else cohort.record(key).plan_type for key in keys)
    counted = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in sorted(flags.items()))
    return TrainingSummary(
        data=f"{'simulated' if provenance.simulated else 'clinical'}: {provenance.data} ({counted})",
        cases=len(keys),
        date=date.today().isoformat(),
        command=command,
        hardware=f"{PLAN.threads} threads of {os.cpu_count()} {platform.machine()} cores, no GPU",
        licence=provenance.licence,
    )


def write_manifest(
    cohort: Cohort, keys: Iterable[str], fitted: Fitted, settings: FeatureSettings, training: TrainingSummary
) -> Manifest:
    protocol = cohort.settings.protocol
    followed = sorted({record.protocol for record in cohort.records()} - {protocol})
    return Manifest(
        schema_version=1,
        name=f"{load_protocol(protocol).site.replace(' ', '_')}_geometric" + ("" if settings.beams else "_no_beams"),
        version="1.0.0",
        kind="geometric",
        protocol=protocol,
        also=tuple(followed),
        default=settings.beams,
        grid=cohort.settings.grid,
        inputs=fitted.names,
        settings={"features": settings.model_dump(mode="json"), "fit": PLAN.model_dump(mode="json")},
        training=training,
        limits=cohort.settings.provenance.limits,
        learned=learned_from(load_protocol(protocol).site, (cohort.record(key).treatment() for key in keys)),
        files={},
    )


def compute_figures(
    cohort: Cohort, splits: Splits, seed: int, predictor: GeometricPredictor
) -> dict[str, dict[str, float]]:
    """The averages over each part that is not fitted on, those that have cases."""
    parts: tuple[Part, ...] = ("validation", "test", "outliers")
    scores = {
        part: [score_case(case, predictor) for case in read_cases(cohort, splits.cases(part, seed))] for part in parts
    }
    return {part: average(each) for part, each in scores.items() if each}


def choose_kept(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Choose the figures for the bundle and every report."""
    names = ("mae_gy body", "mae_gy targets", "d95_gap_gy PTV_7000", "d95_gap_gy PTV_5600", "cases")
    return {
        f"{part}_{name.replace(' ', '_')}": value
        for part, found in figures.items()
        for name, value in found.items()
        if name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", help="folder or URL of the store")
    parser.add_argument("--seed", type=int, help="of the split, where there are several")
    parser.add_argument("--no-beams", action="store_true", help="without any beam geometry; writes no bundle by itself")
    parser.add_argument("--bundle", type=Path, help="where the bundle goes; by default among those that ship")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    splits = Splits.read(cohort)
    seed = next(iter(splits.seeds)) if options.seed is None else options.seed
    settings = choose_features(load_protocol(cohort.settings.protocol), not options.no_beams, IMPORTANCE)
    keys = splits.cases("train", seed)

    started = time.perf_counter()
    fitted = fit(read_cases(cohort, keys), settings, PLAN)
    fit_s = time.perf_counter() - started
    command = f"python tools/fit_geometric.py COHORT --seed {seed}" + (" --no-beams" if options.no_beams else "")
    described = write_manifest(cohort, keys, fitted, settings, describe(cohort, keys, command))
    images = {key: cohort.record(key).image_sha256 for key in keys}
    files = {TREES: fitted.pack(), **training_cases(images)}
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder), described, files)
        figures = compute_figures(cohort, splits, seed, GeometricPredictor(bundle))
    figures["fit"] = {"seconds": round(fit_s, 1), "trees": fitted.trees, "rows": fitted.rows, "peak_gb": read_peak_gb()}
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    target = options.bundle or (None if options.no_beams else BUNDLES / described.name)
    if target is not None:
        training = described.training.model_copy(update={"metrics": choose_kept(figures)})
        write_bundle(target, described.model_copy(update={"training": training}), files)


def read_peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2)


if __name__ == "__main__":
    main()
