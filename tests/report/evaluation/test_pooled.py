"""Evaluations as one table: what is put together, what stays apart, and the numbers over seeds.

Covers vmat_rt.report.evaluation.case_tables, vmat_rt.report.evaluation.exemplars, vmat_rt.report.evaluation.goal_map,
vmat_rt.report.evaluation.labels, vmat_rt.report.evaluation.provenance, vmat_rt.report.evaluation.read,
vmat_rt.report.evaluation.runs and vmat_rt.report.evaluation.tables.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.evaluation.folders import document, failure, goal, sha, write_evaluation, write_run
from vmat_rt.errors import InputError
from vmat_rt.report.evaluation.case_tables import tabulate_failures, tabulate_outliers, tabulate_recurring
from vmat_rt.report.evaluation.exemplars import choose
from vmat_rt.report.evaluation.goal_map import build_goal_map, judge_goal
from vmat_rt.report.evaluation.labels import describe_quantity, format_number
from vmat_rt.report.evaluation.pooled import Pooled, pool, summarize_spread
from vmat_rt.report.evaluation.provenance import tabulate_configuration
from vmat_rt.report.evaluation.read import read_evaluation, read_evaluations
from vmat_rt.report.evaluation.runs import label_recipes, read_run
from vmat_rt.report.evaluation.tables import compare_models, tabulate_comparison, tabulate_goals, tabulate_seeds


def pooled(*folders: Path) -> Pooled:
    return pool(read_evaluations(folders))


def three_seeds(model: str = "unet", add: float = 0.0) -> list:
    """MAE of seeds 42, 123, 456: means over cases of 1, 2 and 3 Gy; within each 0.5 Gy to both sides."""
    return [
        document(model, seed, case, {"mae_gy": mean + side + add})
        for seed, mean in (("42", 1.0), ("123", 2.0), ("456", 3.0))
        for case, side in (("c1", -0.5), ("c2", 0.5))
    ]


def test_the_seed_table_gives_mean_sd_and_range_of_the_seeds_means(tmp_path: Path) -> None:
    table = tabulate_seeds(pooled(write_evaluation(tmp_path / "e", three_seeds())))
    row = next(row for row in table.rows if row[0] == "MAE, body, Gy")
    assert row[1:4] == ("unet", "2.00 ± 1.00", "1.00 to 3.00")
    assert row[4] == "0.71"  # two cases 1 Gy apart
    assert row[6:] == ("3", "2", "0")


def test_a_model_without_seeds_has_no_spread_over_them(tmp_path: Path) -> None:
    found = [document("geometric", "", case, {"mae_gy": value}) for case, value in (("c1", 2.0), ("c2", 4.0))]
    row = tabulate_seeds(pooled(write_evaluation(tmp_path / "e", found))).rows[0]
    assert row[2:4] == ("3.00", "–")
    assert row[6] == "–"


def test_one_model_evaluated_twice_counts_once(tmp_path: Path) -> None:
    folders = [write_evaluation(tmp_path / name, three_seeds()) for name in ("one", "two")]
    found = pooled(*folders)
    assert [model.name for model in found.models] == ["unet"]
    assert found.models[0].by_seed("mae_gy") == {"123": 2.0, "42": 1.0, "456": 3.0}
    assert "2 cases more than once" in " ".join(found.notes)


def test_seeds_of_several_evaluations_are_pooled(tmp_path: Path) -> None:
    everything = three_seeds()
    folders = [
        write_evaluation(tmp_path / seed, [d for d in everything if d.seed == seed]) for seed in ("42", "123", "456")
    ]
    found = pooled(*folders)
    assert found.models[0].seeds == ["42", "123", "456"]
    assert tabulate_seeds(found).rows[0][2] == "2.00 ± 1.00"


def test_two_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    other = [d.model_copy(update={"model_sha256": sha("other" + d.seed)}) for d in three_seeds(add=1.0)]
    found = pooled(write_evaluation(tmp_path / "one", three_seeds()), write_evaluation(tmp_path / "two", other))
    assert [model.name for model in found.models] == ["unet", "unet (two)"]
    assert found.models[1].by_seed("mae_gy")["42"] == 2.0


def test_runs_of_two_recipes_are_no_seeds_of_one_model(tmp_path: Path) -> None:
    folders = []
    for seed in ("42", "123"):
        own = [d for d in three_seeds() if d.seed == seed]
        folders.append(write_evaluation(tmp_path / seed, own, recipe=sha("recipe of " + seed)))
    assert [model.name for model in pooled(*folders).models] == ["unet", "unet (123)"]


def test_one_model_on_two_splits_stays_apart(tmp_path: Path) -> None:
    folders = [write_evaluation(tmp_path / split, three_seeds(), split=split) for split in ("test", "validation")]
    assert [model.name for model in pooled(*folders).models] == ["unet", "unet on pelvis/validation"]


def test_best_median_and_worst_are_those_by_mae(tmp_path: Path) -> None:
    model = pooled(write_evaluation(tmp_path / "e", three_seeds())).models[0]
    assert [(c.rank, c.seed, c.case) for c in choose(model)] == [
        ("best", "42", "c1"), ("median", "123", "c2"), ("worst", "456", "c2"),
    ]  # fmt: skip
    single = write_evaluation(tmp_path / "one", [document("unet", "", "c1", {"mae_gy": 1.0})])
    assert [c.rank for c in choose(pooled(single).models[0])] == ["best"]
    nothing = write_evaluation(tmp_path / "none", [document("unet", "", "c1", {"mae_gy": None})])
    assert choose(pooled(nothing).models[0]) == ()


def test_the_focus_is_the_best_model_that_is_no_baseline(tmp_path: Path) -> None:
    found = [*three_seeds("first", add=1), *three_seeds("second"), document("trees", "", "c1", {"mae_gy": 0.1})]
    evaluated = pooled(write_evaluation(tmp_path / "e", found, baselines=frozenset({"trees"})))
    assert evaluated.focus().name == "second"
    assert evaluated.focus("trees").name == "trees"


@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        ("met", "met", "agree pass"),
        ("missed", "missed", "agree fail"),
        ("met", "missed", "false pass"),
        ("missed", "met", "false fail"),
        ("met", "not evaluable", "not judged"),
    ],
)
def test_verdicts(predicted: str, reference: str, expected: str) -> None:
    assert judge_goal(goal(predicted, reference)) == expected  # type: ignore[arg-type]


def test_the_goal_map_counts_each_prediction_in_the_order_of_seeds(tmp_path: Path) -> None:
    found = [
        document("unet", "123", "c1", {"mae_gy": 1.0}, [goal("met", "missed"), goal("met", "met", "Bladder")]),
        document("unet", "42", "c1", {"mae_gy": 1.0}, [goal("missed", "missed"), goal("met", "met", "Bladder")]),
    ]
    model = pooled(write_evaluation(tmp_path / "e", found)).models[0]
    mapped = build_goal_map(model)
    assert mapped is not None
    assert mapped.pairs == (("42", "c1"), ("123", "c1"))
    assert mapped.total == {"agree pass": 2, "agree fail": 1, "false pass": 1}
    table = tabulate_goals([mapped])
    assert table.rows == (("unet", "quantec", "Rectum V70Gy < 15 %", "0", "1", "1", "0", "0"),)
    assert table.flagged == {0}


def test_outliers_lie_beyond_tukeys_fences(tmp_path: Path) -> None:
    values = {"c1": 1.0, "c2": 2.0, "c3": 3.0, "c4": 4.0, "c5": 20.0}  # quartiles 2 and 4: the fence is at 7
    found = [document("unet", "", case, {"mae_gy": value}) for case, value in values.items()]
    table = tabulate_outliers(pooled(write_evaluation(tmp_path / "e", found)))
    assert table is not None
    assert table.rows == (("c5", "unet", "MAE, body, Gy", "20.00", "7.00", "3.00"),)
    assert tabulate_outliers(pooled(write_evaluation(tmp_path / "few", found[:4]))) is None


def test_recurring_cases_with_their_place_in_each_seed(tmp_path: Path) -> None:
    model = pooled(write_evaluation(tmp_path / "e", three_seeds())).models[0]
    table = tabulate_recurring(model)
    assert table is not None
    assert table.rows[0][0] == "c2"
    assert table.rows[0][3:6] == ("2.50", "1.00", "1/2, 1/2, 1/2")
    between, within = summarize_spread(model.values["mae_gy"]) or (0, 0)
    assert between == pytest.approx(2**-0.5)
    assert within == pytest.approx(1.0)


def test_a_failed_case_is_named_with_its_reason(tmp_path: Path) -> None:
    found = [document("unet", "42", "c1", {"mae_gy": 1.0}), failure("unet", "42", "c2")]
    evaluated = pooled(write_evaluation(tmp_path / "e", found))
    table = tabulate_failures(evaluated)
    assert table is not None
    assert table.rows == (("c2", "unet", "42", "The target leaves the grid. [CUT_OFF]"),)
    row = tabulate_seeds(evaluated).rows[0]
    assert row[-2:] == ("1", "1")


def test_models_are_compared_with_the_first(tmp_path: Path) -> None:
    cases = [f"c{i}" for i in range(8)]
    found = [document("first", "", case, {"mae_gy": 3.0 + i}) for i, case in enumerate(cases)]
    found += [document("second", "", case, {"mae_gy": 2.0 + 0.9 * i}) for i, case in enumerate(cases)]
    comparison = compare_models(pooled(write_evaluation(tmp_path / "e", found)))
    assert comparison is not None
    table = tabulate_comparison(comparison)
    assert table.rows[0][:4] == ("second − first", "MAE, body, Gy", "better", "−1.35")
    assert table.rows[0][6] == "0.008"  # 2 / 2^8
    assert table.flagged == {0}


def test_folders_that_are_none_are_refused_together(tmp_path: Path) -> None:
    damaged = write_evaluation(tmp_path / "damaged", three_seeds())
    (damaged / "aggregate.json").write_text('{"schema_version": 1}')
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as refused:
        read_evaluations([damaged, tmp_path / "empty"])
    assert [problem.code for problem in refused.value.problems] == ["EVALUATION_DAMAGED", "EVALUATION_ABSENT"]


def test_tables_alone_are_enough(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "e", three_seeds())
    for path in folder.rglob("cases/*/*.json"):
        path.unlink()
    assert read_evaluation(folder).cases == ()
    assert tabulate_seeds(pooled(folder)).rows[0][2] == "2.00 ± 1.00"


@pytest.mark.parametrize(
    ("value", "unit", "signed", "text"),
    [(-0.001, "Gy", True, "0.00"), (1.234, "Gy", True, "+1.23"), (-3.0, "%", False, "−3.0"), (None, "Gy", True, "–")],
)
def test_numbers(value: float | None, unit: str, signed: bool, text: str) -> None:
    assert format_number(value, unit, signed=signed) == text


def test_an_unknown_metric_goes_by_its_own_name() -> None:
    assert describe_quantity("new_thing_gy:PTV_7000").axis == "new thing gy, PTV_7000, Gy"


def test_runs_of_one_recipe_with_other_settings_are_told_apart(tmp_path: Path) -> None:
    """KEY=VALUE does not change a recipe's name."""
    runs = [
        read_run(write_run(tmp_path / folder, "tiny", seed, epochs))
        for folder, seed, epochs in (("a", 1, 3), ("b", 2, 3), ("c", 1, 5))
    ]
    assert label_recipes(runs) == ("tiny", "tiny", "tiny (2)")
    table = tabulate_configuration(runs)
    assert table is not None
    assert table.header == ("Setting", "tiny", "tiny (2)")
    assert [row for place, row in enumerate(table.rows) if place in table.flagged] == [("epochs", "3", "5")]
