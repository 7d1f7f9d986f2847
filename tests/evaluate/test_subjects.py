"""Who is evaluated on what; above all that nobody is tested on the cases that it was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate.models import pack_run, pack_tiny
from tests.train.cohorts import SETTINGS, patient
from vmat_rt.bundle import Bundle
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import Splits
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.subjects import CaseChoice, SplitName, Subject, choose_subjects, list_unseen


def subjects(
    cohort: Cohort, *models: object, split: SplitName = "test", seed: int | None = None, baseline: bool = False
) -> tuple[Subject, ...]:
    return choose_subjects([str(model) for model in models], CaseChoice(cohort, split, seed), with_baseline=baseline)


def pack(folder: Path, cohort: Cohort, seed: int) -> Path:
    return pack_run(folder, seed, Splits.read(cohort).cases("train", seed))


def test_a_run_is_tested_on_its_own_split(cohort: Cohort, tmp_path: Path) -> None:
    splits = Splits.read(cohort)
    found = subjects(cohort, *(pack(tmp_path / str(seed), cohort, seed) for seed in (42, 7)))
    assert [(subject.label, subject.name, subject.seed) for subject in found] == [
        ("tiny-42", "tiny", "42"),
        ("tiny-7", "tiny", "7"),
    ]
    assert [subject.cases for subject in found] == [splits.cases("test", 42), splits.cases("test", 7)]
    assert splits.cases("test", 42) != splits.cases("test", 7)


@pytest.mark.parametrize("given", ["run", "its bundle"])
def test_no_training_case_is_a_test_case(cohort: Cohort, tmp_path: Path, given: str) -> None:
    """The test cases of seed 7 are among those that the run of seed 42 was trained on."""
    splits = Splits.read(cohort)
    seen = set(splits.cases("train", 42)) & set(splits.cases("test", 7))
    assert seen
    run = pack(tmp_path / "run", cohort, 42)
    folder = run if given == "run" else run / "bundle"
    with pytest.raises(ConfigError, match=f"trained on {len(seen)} of the 2 cases of the test split"):
        subjects(cohort, folder, seed=7)
    with pytest.raises(ConfigError, match="trained on"):
        subjects(cohort, folder, split="all")
    (asked,) = subjects(cohort, folder, split="train")
    assert asked.cases == splits.cases("train", 42)
    assert "training split" in asked.notes[0]


def test_a_run_that_does_not_say_what_it_saw_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    run = pack(tmp_path / "run", cohort, 42)
    (run / "run.json").write_text('{"seed": 42}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        subjects(cohort, run)


def test_a_bundle_remembers_its_cases_by_key_and_by_image(cohort: Cohort, tmp_path: Path) -> None:
    pictured = Cohort.create(tmp_path / "pictured", SETTINGS)
    case = patient(0)
    pictured.add(case, describe(case, CaseOrigin(key="other", patient="p", source="simulated", image_sha256="a" * 64)))
    with pytest.raises(ConfigError, match="other"):
        subjects(pictured, pack_tiny(tmp_path / "1", trained_on={"x": "a" * 64}).folder, split="all")
    with pytest.raises(ConfigError, match="other"):
        subjects(pictured, pack_tiny(tmp_path / "2", trained_on={"other": ""}).folder, split="all")
    (clean,) = subjects(pictured, pack_tiny(tmp_path / "3", trained_on={"x": "", "y": "b" * 64}).folder, split="all")
    assert clean.notes == ()
    (unknown,) = subjects(pictured, pack_tiny(tmp_path / "4").folder, split="all")
    assert "unknown" in unknown.notes[0]


def test_another_patient_under_the_key_of_a_training_case_is_no_training_case(tmp_path: Path) -> None:
    """OpenKBP's keys are pt-1, pt-2 and so on, in every folder that follows its format."""
    pictured = Cohort.create(tmp_path / "pictured", SETTINGS)
    case = patient(0)
    pictured.add(case, describe(case, CaseOrigin(key="pt-1", patient="p", source="simulated", image_sha256="a" * 64)))
    (found,) = subjects(pictured, pack_tiny(tmp_path / "1", trained_on={"pt-1": "b" * 64}).folder, split="all")
    assert found.cases == ("pt-1",)
    assert found.notes == ()


def test_cases_that_chose_the_weights_are_told(cohort: Cohort, bundle: Bundle, tmp_path: Path) -> None:
    """Also where they are the test cases of another seed, and for a bundle that does not say what chose it."""
    splits = Splits.read(cohort)
    test = splits.cases("test", 42)
    run = pack_run(tmp_path / "run", 42, splits.cases("train", 42), validation=splits.cases("validation", 42))
    (on_validation,) = subjects(cohort, run, split="validation")
    count = len(on_validation.cases)
    assert on_validation.notes[0].startswith(f"{count} of these {count} cases chose its weights")
    assert subjects(cohort, run)[0].notes == ()
    other = pack_run(tmp_path / "other", 42, splits.cases("train", 42), validation=test[:1])
    assert subjects(cohort, other)[0].notes[0].startswith(f"1 of these {len(test)} cases chose its weights")
    (shipped,) = subjects(cohort, bundle.folder, split="validation", seed=42)
    assert "if it was trained on this cohort, these cases chose its weights" in " ".join(shipped.notes)


def test_a_bundle_beside_runs_gets_their_cases(cohort: Cohort, bundle: Bundle, tmp_path: Path) -> None:
    splits = Splits.read(cohort)
    runs = [pack(tmp_path / str(seed), cohort, seed) for seed in (42, 7)]
    found = subjects(cohort, f"shipped={bundle.folder}", *runs)
    assert found[0].name == "shipped"
    assert found[0].cases == tuple(sorted({*splits.cases("test", 42), *splits.cases("test", 7)}))
    assert subjects(cohort, bundle.folder, seed=7)[0].cases == splits.cases("test", 7)
    with pytest.raises(ConfigError, match="seeds 42, 7"):
        subjects(cohort, bundle.folder)


def test_names_must_tell_models_apart(cohort: Cohort, bundle: Bundle, tmp_path: Path) -> None:
    other = pack_tiny(tmp_path / "other", seed=2).folder
    with pytest.raises(ConfigError, match="NAME=MODEL"):
        subjects(cohort, bundle.folder, other, seed=42)
    found = subjects(cohort, f"first={bundle.folder}", f"second={other}", seed=42)
    assert [subject.label for subject in found] == ["first", "second"]
    run = pack(tmp_path / "42", cohort, 42)
    with pytest.raises(ConfigError, match="NAME=MODEL"):  # they would be averaged as if they were seeds
        subjects(cohort, run, bundle.folder)


def test_runs_of_different_recipes_are_no_seeds_of_one_model(cohort: Cohort, tmp_path: Path) -> None:
    runs = [
        pack_run(tmp_path / str(seed), seed, Splits.read(cohort).cases("train", seed), recipe=f"of {seed}")
        for seed in (42, 7)
    ]
    with pytest.raises(ConfigError, match="different recipes are called tiny; tell them apart by NAME=MODEL"):
        subjects(cohort, *runs)
    found = subjects(cohort, f"first={runs[0]}", runs[1])
    assert [subject.label for subject in found] == ["first", "tiny"]


def test_the_spread_of_a_run_is_told_by_cases_that_it_has_not_seen(cohort: Cohort, tmp_path: Path) -> None:
    splits = Splits.read(cohort)
    (model,) = subjects(cohort, pack(tmp_path / "run", cohort, 42), split="train")
    others = splits.cases("validation", 7)
    seen = set(others) & set(splits.cases("train", 42))
    assert seen
    assert list_unseen(model, others, cohort) == [key for key in others if key not in seen]


def test_a_model_of_another_site_is_refused(cohort: Cohort) -> None:
    with pytest.raises(ConfigError, match="head_neck_70"):
        subjects(cohort, "head_neck_geometric", seed=42)
    with pytest.raises(ConfigError, match=r"no model is called no_such_model, .*installed are head_neck, "):
        subjects(cohort, "no_such_model", seed=42)
    with pytest.raises(ConfigError, match="not a model bundle"):
        subjects(cohort, Path(cohort.place.root), seed=42)
    with pytest.raises(ConfigError, match="hold the seeds 42, 7; say which by --seed"):
        subjects(cohort, "prostate_geometric")
    with pytest.raises(ConfigError, match="at least one"):
        subjects(cohort, seed=42)


def test_a_cohort_without_splits_is_taken_whole_or_not_at_all(bundle: Bundle, tmp_path: Path) -> None:
    bare = Cohort.create(tmp_path / "bare", SETTINGS)
    with pytest.raises(ConfigError, match="has no cases"):
        subjects(bare, bundle.folder, split="all")
    case = patient(0)
    bare.add(case, describe(case, CaseOrigin(key="one", patient="p", source="simulated")))
    assert subjects(bare, bundle.folder, split="all")[0].cases == ("one",)
    with pytest.raises(ConfigError, match="cohort split"):
        subjects(bare, bundle.folder)


def test_the_trees_of_a_run_stand_beside_it(cohort: Cohort, run: Path) -> None:
    model, baseline = subjects(cohort, run, baseline=True)
    assert (model.role, baseline.role) == ("model", "baseline")
    assert baseline.bundle.folder == run / "bundle" / "prior"
    assert (baseline.name, baseline.seed, baseline.cases) == ("tiny_prior", "42", model.cases)
    assert "training cases" in baseline.notes[0]
    assert len(subjects(cohort, run)) == 1


def test_trees_called_as_the_model_beside_them_get_a_number(cohort: Cohort, run: Path) -> None:
    """Else the two would be averaged as if they were seeds."""
    found = subjects(cohort, f"tiny_prior={run}", baseline=True)
    assert [(subject.name, subject.role) for subject in found] == [
        ("tiny_prior", "model"),
        ("tiny_prior_2", "baseline"),
    ]


def test_a_name_may_be_of_any_language(cohort: Cohort, bundle: Bundle) -> None:
    (found,) = subjects(cohort, f"Größe={bundle.folder}", seed=42)
    assert (found.name, found.label) == ("Größe", "Größe")


def test_the_installed_trees_stand_beside_a_network_without_any(cohort: Cohort, tmp_path: Path) -> None:
    runs = [pack(tmp_path / str(seed), cohort, seed) for seed in (42, 7)]
    *models, baseline = subjects(cohort, *runs, baseline=True)
    assert [model.role for model in models] == ["model", "model"]
    assert (baseline.name, baseline.seed, baseline.role) == ("prostate_geometric", "", "baseline")
    assert baseline.cases == tuple(sorted({key for model in models for key in model.cases}))


def test_a_real_run_records_its_training_cases(cohort: Cohort, run: Path, tmp_path: Path) -> None:
    """In its bundle too, so that they are known when it is shipped alone."""
    shipped = tmp_path / "shipped"
    (run / "bundle").rename(shipped)
    try:
        with pytest.raises(ConfigError, match="trained on"):
            subjects(cohort, shipped, split="all")
    finally:
        shipped.rename(run / "bundle")
