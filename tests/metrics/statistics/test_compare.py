"""From results files to the table and its tests.

Covers vmat_rt.metrics.statistics.results_file.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmat_rt.errors import InputError
from vmat_rt.metrics.statistics.compare import compare_results, compare_rows
from vmat_rt.metrics.statistics.results_file import ResultRow, read_results, write_results


def rows_of(model: str, values: list[float | None], metric: str = "mae_gy", seed: str = "42") -> list[ResultRow]:
    return [ResultRow(model, seed, f"case_{n:02d}", metric, value) for n, value in enumerate(values)]


BASELINE = [4.0, 4.4, 3.9, 5.1, 4.7, 4.2, 4.9, 5.4]
BETTER = [3.1, 3.3, 3.3, 3.9, 3.8, 3.5, 3.6, 3.9]


def test_two_files_and_two_metrics(tmp_path: Path) -> None:
    one, other = tmp_path / "a.csv", tmp_path / "folder" / "results.csv"
    other.parent.mkdir()
    write_results(one, rows_of("geometric", BASELINE, seed="") + rows_of("geometric", [1.0] * 8, "gamma", seed=""))
    better = [row for seed in ("1", "2") for row in rows_of("network", BETTER, seed=seed)]
    write_results(other, better + rows_of("network", [1.0] * 8, "gamma", seed="1"))
    comparison = compare_results([one, other.parent])
    assert comparison.models == ("geometric", "network")
    test = comparison.tests["network"]["mae_gy"]
    assert test.p_value == pytest.approx(2 / 2**8)
    assert test.p_holm == test.p_value, "the other metric has no p and takes no part in the correction"
    assert test.significant
    assert test.rank_biserial == -1
    assert comparison.summaries["network"]["mae_gy"].n_cases == 8, "two seeds are not sixteen cases"
    content = json.loads(json.dumps(comparison.as_dict()))
    assert content["tests"]["network"]["mae_gy"]["significant"] is True
    assert content["models"]["geometric"]["metrics"]["mae_gy"]["mean"] == pytest.approx(sum(BASELINE) / 8)


def test_holm_covers_the_metrics_of_a_model() -> None:
    rows = [row for m in "abc" for row in rows_of("first", BASELINE, m) + rows_of("second", BETTER, m)]
    tests = compare_rows(rows).tests["second"]
    assert [tests[m].p_holm for m in "abc"] == pytest.approx([3 * 2 / 2**8] * 3)


def test_of_an_evaluation_only_metrics_with_a_better_direction_are_tested() -> None:
    """The report tests the same ones: seconds and each structure's gap would weigh on the correction of the others."""
    metrics = ("mae_gy", "d95_abs_gap_gy:PTV_7000", "seconds", "mean_gap_gy:Rectum", "asymmetry_gy:Femur_Head")
    comparison = compare_rows([row for m in metrics for row in rows_of("a", BASELINE, m) + rows_of("b", BETTER, m)])
    assert list(comparison.tests["b"]) == ["mae_gy", "d95_abs_gap_gy:PTV_7000"]
    assert comparison.tests["b"]["mae_gy"].p_holm == pytest.approx(2 * 2 / 2**8)
    assert set(comparison.summaries["b"]) == set(metrics)


def test_five_cases_say_that_they_cannot_be_significant() -> None:
    comparison = compare_rows(rows_of("first", BASELINE[:5]) + rows_of("second", BETTER[:5]))
    assert not comparison.tests["second"]["mae_gy"].significant
    assert "5 cases cannot be significant" in comparison.as_text()
    assert any("0.0625" in note for note in comparison.as_dict()["notes"])


def test_the_text_table() -> None:
    text = compare_rows(rows_of("first", BASELINE) + rows_of("second", BETTER) + rows_of("third", BETTER)).as_text()
    lines = text.splitlines()
    assert lines[0].split() == ["metric", "model", "cases", "seeds", "mean", "SD", "95", "%", "CI", "seed", "SD"]
    assert sum(line.startswith("mae_gy") for line in lines) == 3 + 2
    assert "second - first" in text
    assert "third - first" in text


def test_cases_without_a_partner_are_told() -> None:
    comparison = compare_rows(rows_of("first", BASELINE) + rows_of("second", BETTER[:6]))
    assert comparison.tests["second"]["mae_gy"].n_pairs == 6
    assert any("share 6 cases; 0 only in second and 2 only in first" in note for note in comparison.notes)


def test_one_model_is_described() -> None:
    comparison = compare_rows(rows_of("only", BASELINE))
    assert comparison.tests == {}
    assert "described, not tested" in comparison.as_text()


def test_values_survive_the_file(tmp_path: Path) -> None:
    rows = rows_of("naïve, net", [0.1 + 0.2, None, -1e-17])
    write_results(tmp_path / "results.csv", rows)
    assert list(read_results(tmp_path)) == rows


def test_json_rows(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    row = {"model": "m", "seed": 42, "case": "c", "metric": "mae_gy", "value": None, "unit": "Gy"}
    file.write_text(json.dumps({"rows": [row]}))
    assert read_results(file) == (ResultRow("m", "42", "c", "mae_gy", None),)
    file.write_text(json.dumps([{**row, "value": 1.5}]))
    assert read_results(file)[0].value == 1.5


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("model,seed,case,metric\nm,1,c,mae", "RESULTS_ROW", "value missing"),
        ("model,seed,case,metric,value\nm,1,c,mae,four", "RESULTS_ROW", "four"),
        ("model,seed,case,metric,value\nm,1,c,mae,inf", "RESULTS_ROW", "infinite"),
        ("model,seed,case,metric,value\nm,1,,mae,3", "RESULTS_ROW", "case empty"),
        ("model,seed,case,metric,value\nm,1,c,mae,1,9", "RESULTS_ROW", "more fields than the header"),
        ("model,seed,case,metric,value\n", "RESULTS_EMPTY", "no rows"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path: Path, text: str, code: str, says: str) -> None:
    file = tmp_path / "results.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=says) as error:
        read_results(file)
    assert error.value.problems[0].code == code


def test_every_bad_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("model,seed,case,metric,value\nm,1,c,mae,x\nm,1,d,mae,2\nm,1,e,mae,y\n")
    with pytest.raises(InputError) as error:
        read_results(file)
    assert [problem.message.split(":")[0] for problem in error.value.problems] == [
        "results.csv, row 1",
        "results.csv, row 3",
    ]


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="RESULTS_ABSENT"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="RESULTS_UNREADABLE"):
        read_results(tmp_path / "none.csv")
    (tmp_path / "odd.json").write_text('{"models": {}}')
    with pytest.raises(InputError, match="RESULTS_UNREADABLE"):
        read_results(tmp_path / "odd.json")


def test_a_value_that_is_no_number_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"model": "m", "case": "c", "metric": "mae", "value": [1]}]')
    with pytest.raises(InputError, match="RESULTS_ROW"):
        read_results(tmp_path)


def test_a_baseline_that_stands_in_two_evaluations_counts_once() -> None:
    """It took another time in each."""
    slow, fast = ([ResultRow("base", "", "c", "seconds", value)] for value in (2.0, 1.0))
    found = compare_rows(rows_of("base", BASELINE) + slow + rows_of("base", BASELINE) + fast + rows_of("new", BETTER))
    assert found.models == ("base", "new")
    assert found.summaries["base"]["seconds"].mean == 2.0


def test_what_is_said_twice_is_refused() -> None:
    with pytest.raises(InputError, match="RESULTS_TWICE") as error:
        compare_rows(rows_of("same", BASELINE) + rows_of("same", BETTER))
    assert error.value.problems[0].message.startswith("8 rows")
    with pytest.raises(InputError, match="RESULTS_EMPTY"):
        compare_rows([])
