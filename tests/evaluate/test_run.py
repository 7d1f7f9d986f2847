"""A whole evaluation on a tiny cohort: what it leaves, what it keeps, and what it survives.

Covers vmat_rt.commands.evaluate, vmat_rt.evaluate.folder and vmat_rt.evaluate.work.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.evaluate.models import pack_tiny
from vmat_rt.bundle import load_bundle
from vmat_rt.cli import main
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.evaluate.run import Means, Question, evaluate
from vmat_rt.metrics.statistics.compare import compare_results
from vmat_rt.metrics.statistics.results_file import read_results
from vmat_rt.prediction import predict_dose
from vmat_rt.protocol import load_protocol
from vmat_rt.report.evaluation_schema import DOCUMENTS, AggregateDocument, MetricSummary
from vmat_rt.report.schema import write_schema_text
from vmat_rt.train.batch import structure_table
from vmat_rt.train.validate import case_score

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schema"
ONE = Means(workers=1, progress=False, device="cpu")
Evaluated = tuple[Path, AggregateDocument]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def fits(path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(found, json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="module")
def evaluated(cohort: Cohort, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """The run and its trees on its two test cases, with doses, against the clinical plans."""
    out = tmp_path_factory.mktemp("evaluation")
    question = Question((str(run),), save_dose=True, clinical=True)
    return out, evaluate(cohort, question, out, Means(workers=2, progress=False, device="cpu"))


def test_files_and_schemas(evaluated: Evaluated, cohort: Cohort) -> None:
    out, document = evaluated
    keys = Splits.read(cohort).cases("test", 42)
    for label in ("tiny_network", "tiny_prior"):
        assert sorted(path.name for path in (out / "cases" / label).glob("*.json")) == [f"{key}.json" for key in keys]
        for key in keys:
            found = fits(out / "cases" / label / f"{key}.json", "evaluation_case")
            assert found["status"] == "done"
            assert found["case_sha256"] == cohort.record(key).content_sha256
    aggregate = fits(out / "aggregate.json", "evaluation_aggregate")
    assert aggregate == document.model_dump(mode="json")
    assert aggregate["models"]["tiny_network"]["n_cases"] == 2
    assert aggregate["models"]["tiny_network"]["metrics"]["d95_gap_gy"].keys() == {
        "PTV_7000",
        "PTV_5600",
        "PTV_5600 shell",
    }
    assert aggregate["models"]["tiny_prior"]["role"] == "baseline"
    assert aggregate["cohort"]["simulated"]
    assert "simulated" in aggregate["notes"][0]
    fits(out / "against_clinical.json", "against_clinical")
    assert (out / "against_clinical.csv").read_text(encoding="utf-8").startswith("rank,model,")


def test_published_schemas_are_current() -> None:
    for name, model in DOCUMENTS.items():
        path = SCHEMAS / f"{name}.schema.json"
        assert path.read_text(encoding="utf-8") == write_schema_text(model), (
            "run python -m vmat_rt.report.evaluation_schema"
        )


def test_saved_dose_is_what_the_bundle_predicts_and_the_error_what_training_measures(
    evaluated: Evaluated, cohort: Cohort, run: Path
) -> None:
    out, _ = evaluated
    table = structure_table(load_protocol("prostate_sib_70_56"))
    for key in Splits.read(cohort).cases("test", 42):
        case = cohort.read(key)
        dose = predict_dose(case, load_bundle(run), "cpu").dose
        with np.load(out / "cases" / "tiny_network" / f"{key}.npz") as saved:
            assert saved["dose"].dtype == np.float32
            assert np.allclose(saved["dose"], dose.array, rtol=0, atol=1e-4)
            assert tuple(saved["spacing_mm"]) == case.ct.grid.spacing_mm
            assert tuple(saved["origin_mm"]) == case.ct.grid.origin_mm
        found = json.loads((out / "cases" / "tiny_network" / f"{key}.json").read_text(encoding="utf-8"))["metrics"]
        for name, value in case_score(case, dose, table).items():
            assert found[name] == pytest.approx(value, abs=0.02), name


def test_tables_can_be_compared(evaluated: Evaluated) -> None:
    out, document = evaluated
    rows = read_results(out)
    own = [row.value for row in rows if (row.model, row.metric) == ("tiny_network", "mae_gy")]
    summary = document.models["tiny_network"].metrics["mae_gy"]
    assert isinstance(summary, MetricSummary)
    assert None not in own
    assert summary.mean == pytest.approx(np.mean([value for value in own if value is not None]))
    assert {row.value for row in rows if row.metric == "failed"} == {0.0}
    assert compare_results([out]).models == ("tiny_network", "tiny_prior")


def test_what_is_finished_is_kept_and_what_changed_is_not(
    evaluated: Evaluated, cohort: Cohort, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(evaluated[0], out)
    key, other = Splits.read(cohort).cases("test", 42)
    written = {path: path.stat().st_mtime_ns for path in (out / "cases").rglob("*") if path.is_file()}
    question = Question((str(run),), save_dose=True)
    assert evaluate(cohort, question, out, ONE) == evaluated[1]
    assert not list(out.glob("against_clinical.*")), "nobody asked this time"
    assert {path: path.stat().st_mtime_ns for path in written} == written
    half = out / "cases" / "tiny_network" / f"{key}.json"
    half.write_text(half.read_text(encoding="utf-8")[:200], encoding="utf-8")
    stale = out / "cases" / "tiny_prior" / f"{other}.json"
    stale.write_text(stale.read_text(encoding="utf-8").replace('"model_sha256": "', '"model_sha256": "0'), "utf-8")
    evaluate(cohort, question, out, ONE)
    renewed = {path for path, before in written.items() if path.stat().st_mtime_ns != before}
    assert renewed == {half, half.with_suffix(".npz"), stale, stale.with_suffix(".npz")}


def test_a_damaged_case_is_a_row(cohort: Cohort, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cohort.place.root, copy)
    hurt, _ = Splits.read(cohort).cases("test", 42)
    files = [path for path in (copy / "cases" / f"{hurt}.zarr").rglob("*") if path.is_file()]
    max(files, key=lambda path: path.stat().st_size).write_bytes(b"not what was written")
    bundle = pack_tiny(tmp_path / "tiny", trained_on={})
    out = tmp_path / "out"
    result = command(
        bundle.folder,
        "--cohort",
        copy,
        "--seed",
        42,
        "--no-gamma",
        "--no-baseline",
        "--workers",
        1,
        "--out",
        out,
        "--json",
    )
    assert result.exit_code == 0, result.output
    model = json.loads(result.stdout)["models"]["tiny"]
    assert (model["n_cases"], model["n_failed"]) == (1, 1)
    assert "gamma_global_percent" not in model["metrics"]
    assert fits(out / "cases" / "tiny" / f"{hurt}.json", "evaluation_case")["status"] == "failed"
    with (out / "failures.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["code"]) == (hurt, "CASE_DAMAGED")
    lost = {row.metric: row.value for row in read_results(out) if row.case == hurt}
    assert lost["failed"] == 1
    assert lost["mae_gy"] is None


def test_a_damaged_record_is_a_row_too(cohort: Cohort, tmp_path: Path) -> None:
    """Also one of a case that nobody evaluates stops nothing."""
    copy = Cohort.open(shutil.copytree(cohort.place.root, tmp_path / "copy"))
    copy.reindex()
    splits = Splits.read(copy)
    hurt, whole = splits.cases("test", 42)
    for key in (hurt, splits.cases("train", 42)[0]):
        (tmp_path / "copy" / "cases" / f"{key}.zarr" / "record.json").write_text("{bad", encoding="utf-8")
    question = Question(
        (str(pack_tiny(tmp_path / "tiny", trained_on={}).folder),), seed=42, gamma=False, baseline=False
    )
    document = evaluate(copy, question, tmp_path / "out", ONE)
    assert (document.models["tiny"].n_cases, document.models["tiny"].n_failed) == (1, 1)
    with (tmp_path / "out" / "failures.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["code"]) == (hurt, "CASE_DAMAGED")
    assert {row.case for row in read_results(tmp_path / "out") if row.metric == "mae_gy" and row.value} == {whole}


def test_another_grid_is_resampled_and_what_it_leaves_out_is_said(cohort: Cohort, tmp_path: Path) -> None:
    """A model whose grid is smaller: the rest of the body counts as 0 Gy, and that stands in the notes."""
    rule = cohort.settings.grid.model_copy(update={"shape": (20, 24, 32)})
    bundle = pack_tiny(tmp_path / "tiny", trained_on={}, grid=rule)
    case = cohort.read("tiny-0")
    question = Question((str(bundle.folder),), split="test", seed=42, gamma=False, save_dose=True, baseline=False)
    document = evaluate(cohort, question, tmp_path / "out", ONE)
    covered = document.models["tiny"].metrics["coverage_percent"]
    assert isinstance(covered, MetricSummary)
    assert covered.mean is not None
    assert 50 < covered.mean < 95
    assert any("counts as 0 Gy" in note for note in document.notes)
    key = document.cases["tiny"][0]
    with np.load(tmp_path / "out" / "cases" / "tiny" / f"{key}.npz") as saved:
        assert saved["dose"].shape == case.ct.grid.shape
        assert not saved["dose"][0].any()


def test_nobody_elses_folder_is_written_to(cohort: Cohort, run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="something else than an evaluation"):
        evaluate(cohort, Question((str(run),)), tmp_path, ONE)
    with pytest.raises(InputError, match="OUTPUT_NOT_WRITABLE"):
        evaluate(cohort, Question((str(run),)), tmp_path / "notes.txt" / "out", ONE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_usage_errors(cohort: Cohort, run: Path, tmp_path: Path) -> None:
    result = command(run, "--cohort", cohort.place.root, "--seed", 7, "--out", tmp_path, "--json")
    assert result.exit_code == 2
    assert "trained on" in json.loads(result.stdout)["problems"][0]["message"]
    assert command("--cohort", cohort.place.root, "--out", tmp_path).exit_code == 2
    assert command(run, "--cohort", tmp_path / "nowhere", "--out", tmp_path).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_person_reads_a_table(evaluated: Evaluated, cohort: Cohort, run: Path) -> None:
    out, _ = evaluated
    result = command(run, "--cohort", cohort.place.root, "--save-dose", "--out", out, "--workers", 1, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "tiny_network (model): 2 cases" in result.stdout
    assert "d95_gap_gy PTV_7000" in result.stdout
    assert "simulated" in result.stdout
