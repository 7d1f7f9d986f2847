"""Makes a training run's bundle one that ships: the default of its protocol, with its evaluation in the model card.

    python tools/ship_bundle.py RUN EVALUATION --model LABEL [--bundles vmat_rt/bundles]

EVALUATION is a folder of `vmat-rt evaluate`, LABEL the run's model in it. The weights stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vmat_rt.bundle import TRAINING_CASES, Bundle, Manifest, load_bundle, write_bundle
from vmat_rt.report.evaluation_schema import AggregateDocument, MetricSummary, ModelAggregate
from vmat_rt.system.publish import published_folder
from vmat_rt.train.package import CARD

SHOWN = ("mae_gy", "mae_target_gy", "gamma_global_percent", "gamma_target_percent", "d95_gap_gy", "d95_abs_gap_gy",
         "openkbp_dose_score", "openkbp_dvh_score")  # fmt: skip
LARGEST_MB = 12


def collect_summaries(model: ModelAggregate) -> dict[str, MetricSummary]:
    """The metrics that a card shows; those by structure as metric:structure."""
    found = {}
    for name in SHOWN:
        entry = model.metrics.get(name)
        if isinstance(entry, MetricSummary):
            found[name] = entry
        elif entry is not None:
            found |= {f"{name}:{structure}": summary for structure, summary in entry.items()}
    return {name: summary for name, summary in found.items() if summary.mean is not None}


def write_section(document: AggregateDocument, label: str) -> str:
    """The part of the card that tells of the evaluation, with the baselines beside the model."""
    baselines = [name for name, model in document.models.items() if model.role == "baseline"]
    columns = {name: collect_summaries(document.models[name]) for name in (label, *baselines)}
    cohort = document.cohort
    kind = "SIMULATED patients and doses. " if cohort.simulated else ""
    lines = [
        "## Evaluation",
        "",
        f"{kind}{cohort.split} split of {cohort.name}, {document.models[label].n_cases} cases; mean ± SD over cases.",
        "",
        "| metric | " + " | ".join(columns) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for metric in columns[label]:
        cells = [found.get(metric) for found in columns.values()]
        lines.append(f"| {metric} | " + " | ".join("-" if c is None else format_shown(c) for c in cells) + " |")
    return "\n".join([*lines, "", "", ""])


def format_shown(summary: MetricSummary) -> str:
    return f"{summary.mean:.2f}" + ("" if summary.sd is None else f" ± {summary.sd:.2f}")


def ship(bundle: Bundle, document: AggregateDocument, label: str, folder: Path) -> Bundle:
    """Write the bundle into `folder` as a default one."""
    metrics = {
        name: round(summary.mean or 0.0, 4) for name, summary in collect_summaries(document.models[label]).items()
    }
    split = document.cohort.split
    training = bundle.manifest.training.model_copy(
        update={"metrics": {**bundle.manifest.training.metrics, **{f"{split}_{n}": v for n, v in metrics.items()}}}
    )
    manifest: Manifest = bundle.manifest.model_copy(update={"default": True, "training": training})
    files = {name: bundle.read_bytes(name) for name in bundle.manifest.files}
    assert TRAINING_CASES in files
    before, after = files[CARD].decode().split("## Limits", 1)
    files[CARD] = f"{before}{write_section(document, label)}## Limits{after}".encode()
    with published_folder(folder) as temporary:
        written = write_bundle(temporary, manifest, files)
    return Bundle(folder, written.manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bundles", type=Path, default=Path("vmat_rt/bundles"))
    options = parser.parse_args()
    bundle = load_bundle(options.run)
    document = AggregateDocument.model_validate_json((options.evaluation / "aggregate.json").read_text("utf-8"))
    evaluated = [entry.sha256 for entry in document.subjects if entry.name == options.model]
    if evaluated != [bundle.identity.sha256]:
        raise SystemExit(f"{options.model} in {options.evaluation} is not this bundle, or not this bundle alone")
    size = sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file()) / 1e6
    if size > LARGEST_MB:
        raise SystemExit(f"{bundle.folder} has {size:.1f} MB, more than {LARGEST_MB}")
    written = ship(bundle, document, options.model, options.bundles / bundle.manifest.name)
    print(f"{written.folder}: {size:.2f} MB, SHA-256 {written.identity.sha256[:12]}")


if __name__ == "__main__":
    main()
