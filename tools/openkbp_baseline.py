"""Fits the geometric baseline on OpenKBP's training patients, scores it on validation and writes the bundle.

    python tools/openkbp_baseline.py OPENKBP_FOLDER [--no-beams] [--bundle FOLDER] [--json FILE]

OPENKBP_FOLDER holds train/, validation/, read_openkbp.py and score_openkbp.py. Every tenth training patient decides
when to stop and is not fitted on. The two scores are those of score_openkbp.py (dose score over the whole grid, DVH
score pooled).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np

from vmat_rt.baseline.boosting import TREES, GeometricPredictor
from vmat_rt.baseline.features import compute_features
from vmat_rt.baseline.fit import FitSettings, Fitted, fit
from vmat_rt.baseline.scene import FeatureSettings, choose_features
from vmat_rt.bundle import GridRule, Manifest, TrainingSummary, training_cases, write_bundle
from vmat_rt.case import Case
from vmat_rt.cohort.duplicates import hash_image
from vmat_rt.cohort.openkbp import PROTOCOL, OpenKbpPatient, make_openkbp_case, to_openkbp_axes
from vmat_rt.curation.intake.openkbp import PROVENANCE
from vmat_rt.learned import learned_from
from vmat_rt.protocol import load_protocol
from vmat_rt.study.outside import treatment_of

BUNDLE = Path(__file__).resolve().parent.parent / "vmat_rt" / "bundles" / "head_neck_geometric"
IMPORTANCE = {"SpinalCord": 0.3, "Brainstem": 0.2, "Parotid_L": 0.1, "Parotid_R": 0.1, "Larynx": 0.05}
"""What planners pay attention to; the quick inverse plan spares these organs more than other tissue."""

DATA = (
    "OpenKBP training patients (A. Babier et al., OpenKBP: The open-access knowledge-based planning grand challenge "
    "and dataset, Med. Phys. 48(9), 5549-5561, 2021)"
)


@dataclass(frozen=True)
class Scores:
    """On the validation patients: Gy, and mean seconds per patient on the wall clock."""

    dose_score_gy: float
    dvh_score_gy: float
    features_s: float
    predict_s: float
    slowest_s: float


def read_cases(reader: ModuleType, root: Path, split: str) -> Iterator[Case]:
    for number, path in reader.list_patients(str(root), split):
        yield make_openkbp_case(OpenKbpPatient.from_arrays(reader.read_patient(path)), f"{split} {number}")


def score(reader: ModuleType, scorer: ModuleType, root: Path, predictor: GeometricPredictor) -> Scores:
    """Both scores of the validation patients. Features are computed once more, apart, to time them."""
    results, feature_seconds, predict_seconds = [], [], []
    for number, path in reader.list_patients(str(root), "validation"):
        arrays = reader.read_patient(path)
        case = make_openkbp_case(OpenKbpPatient.from_arrays(arrays), str(number))
        started = time.perf_counter()
        compute_features(case, case.ct.grid, predictor.settings)
        between = time.perf_counter()
        dose = predictor.predict(case, case.ct.grid).dose.array
        feature_seconds.append(between - started)
        predict_seconds.append(time.perf_counter() - between)
        results.append(scorer.score_patient(to_openkbp_axes(dose), arrays))
    dose_score, dvh_score = scorer.combine(results)
    return Scores(
        dose_score, dvh_score, float(np.mean(feature_seconds)), float(np.mean(predict_seconds)), max(predict_seconds)
    )


def write_manifest(fitted: Fitted, settings: FeatureSettings, plan: FitSettings, training: TrainingSummary) -> Manifest:
    return Manifest(
        schema_version=1,
        name="head_neck_geometric" if settings.beams else "head_neck_geometric_no_beams",
        version="1.0.0",
        kind="geometric",
        protocol=PROTOCOL,
        default=settings.beams,
        grid=GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.906, 3.906)),
        inputs=fitted.names,
        settings={"features": settings.model_dump(mode="json"), "fit": plan.model_dump(mode="json")},
        training=training,
        limits=PROVENANCE.limits,
        files={},
    )


def read_peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def hash_images(reader: ModuleType, root: Path) -> dict[str, str]:
    """Hash of each training patient's CT, by which a cohort's case is known whatever its key."""
    found = read_cases(reader, root, "train")
    return {case.key.replace("train ", "pt_"): hash_image(case.ct) for case in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--no-beams", action="store_true", help="without any beam geometry; writes no bundle by itself")
    parser.add_argument("--bundle", type=Path, help="where the bundle goes; by default the one that ships")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    sys.path.insert(0, str(options.openkbp))
    reader, scorer = importlib.import_module("read_openkbp"), importlib.import_module("score_openkbp")

    settings, plan = choose_features(load_protocol(PROTOCOL), not options.no_beams, IMPORTANCE), FitSettings()
    started = time.perf_counter()
    fitted = fit(read_cases(reader, options.openkbp, "train"), settings, plan)
    fit_s = time.perf_counter() - started
    training = TrainingSummary(
        data=DATA + (", beam geometry given" if settings.beams else ", no beam geometry"),
        cases=len(reader.list_patients(str(options.openkbp), "train")),
        date=date.today().isoformat(),
        command="python tools/openkbp_baseline.py OPENKBP_FOLDER" + (" --no-beams" if options.no_beams else ""),
        hardware=f"{plan.threads} threads of {os.cpu_count()} {platform.machine()} cores, no GPU",
        licence="MIT (github.com/ababier/open-kbp, copyright 2021 Aaron Babier)",
    )
    learned = learned_from(
        load_protocol(PROTOCOL).site, map(treatment_of, read_cases(reader, options.openkbp, "train"))
    )
    described = write_manifest(fitted, settings, plan, training).model_copy(update={"learned": learned})
    files = {TREES: fitted.pack(), **training_cases(hash_images(reader, options.openkbp))}
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder), described, files)
        scores = score(reader, scorer, options.openkbp, GeometricPredictor(bundle))
    figures = {**asdict(scores), "fit_s": fit_s, "trees": fitted.trees, "rows": fitted.rows, "peak_gb": read_peak_gb()}
    figures = {name: round(float(value), 4) for name, value in figures.items()}
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    target = options.bundle or (None if options.no_beams else BUNDLE)
    if target is not None:
        kept = {
            "openkbp_validation_dose_score_gy": figures["dose_score_gy"],
            "openkbp_validation_dvh_score_gy": figures["dvh_score_gy"],
            "openkbp_validation_patients": len(reader.list_patients(str(options.openkbp), "validation")),
        }
        training = training.model_copy(update={"metrics": kept})
        write_bundle(target, described.model_copy(update={"training": training}), files)


if __name__ == "__main__":
    main()
