"""`vmat-rt evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmat_rt.commands.common import guard, json_option, needs, print_json, say
from vmat_rt.commands.predict import device_option
from vmat_rt.system.cores import usable_cores

if TYPE_CHECKING:
    from vmat_rt.report.evaluation_schema import AggregateDocument

_SPLITS = ("test", "validation", "train", "outliers", "unseen", "all")
_SHOWN = (
    "mae_gy",
    "mae_target_gy",
    "gamma_global_percent",
    "gamma_target_percent",
    "d95_gap_gy",
    "goals_agreement_percent",
    "openkbp_dose_score",
    "openkbp_dvh_score",
    "seconds",
)


@click.command(
    epilog="Example: vmat-rt evaluate runs/mse-42 runs/mse-123 head_neck --cohort clinic --split test --out results\n\n"
    "Writes OUT/{results.csv, aggregate.json, failures.csv, cases/MODEL/CASE.json}. What an earlier run finished is "
    "kept. Then: vmat-rt compare OUT"
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--cohort", "uri", required=True, metavar="DIR|URL", help="The cohort, with its splits.yaml.")
@click.option("--split", type=click.Choice(_SPLITS), default="test", show_default=True, help="Part of the cohort.")
@click.option("--seed", type=click.IntRange(0), help="Of the split. Default: a run's own.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=usable_cores,
    show_default="one a core",
    help="Processes at a time, of one thread and 1 to 2 GB each.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Use this Dask cluster instead, e.g. tcp://host:8786.")
@click.option("--against", type=click.Choice(["clinical"]), help="Also rank plans that are worse than predicted.")
@click.option("--save-dose", is_flag=True, help="Also write each predicted dose: CASE.npz beside CASE.json.")
@click.option("--gamma/--no-gamma", default=True, show_default=True, help="3 % / 3 mm, the slowest of the measures.")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="The geometric baseline beside models.")
@device_option
@json_option
@guard
@needs("cohort")
def command(models: tuple[str, ...], uri: str, out: Path, as_json: bool, **options: Any) -> None:
    """Evaluate models on a cohort's cases, against clinical dose and the geometric baseline.

    MODEL is the name of an installed bundle, or the folder of a bundle or of a training run; NAME=MODEL calls it NAME.
    Runs of one name with several seeds are pooled. A model is never tested on a case that it was trained on.
    """
    from vmat_rt.cohort.store import Cohort
    from vmat_rt.evaluate.run import Means, Question, describe_plans_against_prediction, evaluate
    from vmat_rt.system.extras import require

    if options["scheduler"]:
        require("cluster", what="--scheduler")
    question = Question(
        models=models,
        split=options["split"],
        seed=options["seed"],
        baseline=options["baseline"],
        gamma=options["gamma"],
        save_dose=options["save_dose"],
        clinical=options["against"] == "clinical",
    )
    means = Means(options["workers"], options["scheduler"], options["device"])
    document = evaluate(Cohort.open(uri), question, out, means)
    if as_json:
        print_json(document.model_dump(mode="json"))
        return
    say(_format_table(document))
    for note in document.notes:
        say(f"Note: {note}")
    if question.clinical:
        say(f"Plans against prediction: {describe_plans_against_prediction(out)}")
    say(f"results in {out}")


def _format_table(document: AggregateDocument) -> str:
    """Format one line per model and metric: mean, SD over cases, 95 % interval of the mean."""
    lines = []
    for name, model in document.models.items():
        failed = f", {model.n_failed} failed" if model.n_failed else ""
        lines.append(f"{name} ({model.role}): {model.n_cases} cases{failed}")
        for metric in (shown for shown in _SHOWN if shown in model.metrics):
            summary = model.metrics[metric]
            parts = summary if isinstance(summary, dict) else {"": summary}
            for structure, value in parts.items():
                if value.mean is None:
                    continue
                spread = f" SD {value.sd:.3g}" if value.sd is not None else ""
                interval = f" (95 % CI {value.ci95[0]:.4g} to {value.ci95[1]:.4g})" if value.ci95 else ""
                fewer = f" in {value.n} cases" if value.n != model.n_cases else ""
                lines.append(f"  {f'{metric} {structure}'.strip():32s} {value.mean:8.4g}{spread}{interval}{fewer}")
    return "\n".join(lines)
