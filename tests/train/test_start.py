"""Going on from a trained model: what is taken from it, what must fit, and where the run begins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.train.cohorts import RULE, SETTINGS, make_cohort, patient, tiny_recipe
from tests.train.test_run import FIT, FULL_WEIGHTS
from vmat_rt.bundle import TRAINING_CASES, Bundle, load_bundle
from vmat_rt.cli import main
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.split import split_cohort
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError
from vmat_rt.nn.network_bundle import unpack_network
from vmat_rt.prediction import predict_dose
from vmat_rt.train.loop import train
from vmat_rt.train.recipe import Recipe, StartSettings, load_recipe

PRIOR = {"folds": 2, "share": 0.3, "residual": False, "fit": FIT}
STILL = {"lr": 1e-12, "lowest_lr": 0.0}


def own_recipe(**changes: object) -> Recipe:
    """A recipe that says its network, with a prior."""
    settings = {"bundle": FULL_WEIGHTS, "coarsen": 2, "flip_average": True, "prior": PRIOR, "channels": {"bands": 4}}
    return tiny_recipe(**{**settings, **changes})


def adapting(model: Path | str, **changes: object) -> Recipe:
    """A recipe that takes the network from a model."""
    start = {"model": str(model), "network": "model", "trees": "keep"}
    settings = {
        "name": "adapting",
        "title": "Adapting",
        "start": start,
        "batch": 2,
        "epochs": 1,
        "optimiser": STILL,
        "precision": "32-true",
        "ema": 0.0,
        "bundle": {**FULL_WEIGHTS, "name": "adapted"},
    }
    return Recipe.model_validate({**settings, **changes})


def cohort_of(folder: Path, patients: dict[str, int]) -> Cohort:
    """Key -> number of a patient, with its image's hash; four to train on, two to validate, one to test."""
    cohort = Cohort.create(folder, SETTINGS)
    for key, number in patients.items():
        case = replace(patient(number), key=key)
        record = describe(case, CaseOrigin(key=key, patient=f"person-{number}", source="simulated"))
        image = hashlib.sha256(str(number).encode()).hexdigest()
        cohort.add(case, record.model_copy(update={"image_sha256": image}))
    cohort.reindex()
    split_cohort(cohort.records(), seeds=(42,), fractions=(4 / 7, 2 / 7, 1 / 7)).write(cohort)
    return cohort


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return cohort_of(tmp_path_factory.mktemp("elsewhere") / "own", {f"pt-{n}": n for n in range(7)})


@pytest.fixture(scope="module")
def model(elsewhere: Cohort, runs: Path) -> Bundle:
    out = runs / "learned_elsewhere"
    train(own_recipe(), elsewhere, out)
    return load_bundle(out)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Other patients with the keys that the model's own cohort has too."""
    return cohort_of(tmp_path_factory.mktemp("clinic") / "own", {f"pt-{n - 20}": n for n in range(20, 27)})


def test_a_run_begins_with_the_model_s_weights_network_and_trees(model: Bundle, clinic: Cohort, runs: Path) -> None:
    out = runs / "stands_still"
    train(adapting(model.folder), clinic, out)
    before, after = unpack_network(model), unpack_network(load_bundle(out))
    assert after.channels == before.channels
    assert after.settings == before.settings
    for name, weight in before.unet.state_dict().items():
        torch.testing.assert_close(after.unet.state_dict()[name], weight, rtol=0, atol=1e-6)
    new = load_bundle(out)
    assert [new.read_bytes(f"prior/{n}") for n in ("bundle.json", "trees.txt.xz")] == [
        model.read_bytes(f"prior/{n}") for n in ("bundle.json", "trees.txt.xz")
    ]
    case = patient(25)
    doses = [predict_dose(case, bundle, "cpu").dose.array for bundle in (model, new)]
    assert abs(doses[0] - doses[1]).max() < 1e-3


def test_the_card_and_the_list_of_cases_tell_what_was_learned_before(model: Bundle, clinic: Cohort, runs: Path) -> None:
    out = runs / "tells_of_before"
    train(adapting(model.folder), clinic, out)
    bundle = load_bundle(out)
    assert "begun from tiny_network 1.0.0 (4 cases" in bundle.manifest.training.data
    cases = json.loads(bundle.read_bytes(TRAINING_CASES))
    earlier = json.loads(model.read_bytes(TRAINING_CASES))
    assert len(cases) == 8
    assert len(set(cases.values())) == 8
    assert set(earlier.values()) < set(cases.values())
    identity = json.loads((out / "run.json").read_text("utf-8"))
    assert identity["start_sha256"] == model.identity.sha256
    # What lies in the bundle can be trained again.
    again = load_recipe(bundle.folder / "recipe.yaml")
    assert again.channels.extra == tuple(f"band:{k}/4" for k in range(4))
    assert again.start is not None
    train(again, clinic, runs / "again")


def test_trees_are_fitted_anew_where_asked_for(model: Bundle, clinic: Cohort, runs: Path) -> None:
    start = {"model": str(model.folder), "network": "model", "trees": "refit"}
    out = runs / "refitted"
    train(adapting(model.folder, start=start, prior={"folds": 2, "fit": FIT}), clinic, out)
    bundle = load_bundle(out)
    assert bundle.read_bytes("prior/trees.txt.xz") != model.read_bytes("prior/trees.txt.xz")
    assert bundle.manifest.settings == model.manifest.settings


def test_a_run_that_goes_on_resumes_and_refuses_another_model(
    model: Bundle, elsewhere: Cohort, clinic: Cohort, runs: Path
) -> None:
    out = runs / "resumes"
    first = train(adapting(model.folder), clinic, out)
    assert train(adapting(model.folder), clinic, out, resume=True) == first
    other = runs / "other_model"
    train(own_recipe(epochs=1), elsewhere, other)
    with pytest.raises(ConfigError, match=r"start\.model|it was begun with"):
        train(adapting(other), clinic, out, resume=True)


def test_kept_trees_that_have_seen_the_cases_are_refused(model: Bundle, elsewhere: Cohort, runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"start\.trees=refit"):
        train(adapting(model.folder), elsewhere, runs / "seen")
    start = {"model": str(model.folder), "network": "model", "trees": "refit"}
    train(adapting(model.folder, start=start, prior={"folds": 2, "fit": FIT}), elsewhere, runs / "seen")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": {"bands": 9}}, "band:0/4"),
        ({"unet": {"width": 4, "levels": 1, "embedding": 8}}, "unet"),
        ({"coarsen": 1}, "coarsen"),
    ],
)
def test_a_recipe_with_another_network_is_refused_with_a_remedy(
    model: Bundle, clinic: Cohort, runs: Path, changes: dict[str, object], said: str
) -> None:
    recipe = own_recipe(**changes).begun_from(str(model.folder))
    with pytest.raises(ConfigError, match=said) as caught:
        train(recipe, clinic, runs / "refused")
    assert "recipe adapt" in str(caught.value)


def test_a_recipe_with_the_same_network_goes_on(model: Bundle, clinic: Cohort, runs: Path) -> None:
    out = runs / "same_network"
    train(own_recipe(optimiser=STILL, epochs=1, ema=0.0).begun_from(str(model.folder)), clinic, out)
    weights, before = unpack_network(load_bundle(out)).unet.state_dict(), unpack_network(model).unet.state_dict()
    assert all(torch.allclose(weights[name], before[name], atol=1e-6) for name in before)


def test_what_cannot_be_gone_on_from_is_said(model: Bundle, clinic: Cohort, runs: Path, tmp_path: Path) -> None:
    out = runs / "not_begun"
    with pytest.raises(ConfigError, match="--from MODEL"):
        train(load_recipe("adapt_cpu"), clinic, out)
    with pytest.raises(ConfigError, match="has no weights"):
        train(load_recipe("adapt_cpu").begun_from("prostate_geometric"), clinic, out)
    with pytest.raises(ConfigError, match="the cohort is of prostate_sib_70_56"):
        train(load_recipe("adapt_cpu").begun_from("head_neck"), clinic, out)
    with pytest.raises(ConfigError, match="no model is called nothing"):
        train(load_recipe("adapt_cpu").begun_from("nothing"), clinic, out)
    with pytest.raises(ConfigError, match="comes from the model"):
        train(adapting(model.folder, coarsen=2), clinic, out)
    spacing = tuple(1.5 * mm for mm in RULE.spacing_mm)
    settings = SETTINGS.model_copy(update={"grid": RULE.model_copy(update={"spacing_mm": spacing})})
    with pytest.raises(ConfigError, match="make the cohort anew"):
        train(adapting(model.folder), make_empty(tmp_path / "coarse", settings), out)
    assert not out.exists()


def make_empty(folder: Path, settings: object) -> Cohort:
    cohort = make_cohort(folder)
    cohort.settings = settings  # type: ignore[misc,assignment]
    return cohort


@pytest.mark.parametrize("name", ["adapt", "adapt_cpu"])
def test_the_packaged_recipes_leave_the_network_to_the_model(name: str) -> None:
    assert load_recipe(name).start == StartSettings(network="model", trees="keep")


def test_the_command_goes_on_from_a_model(model: Bundle, clinic: Cohort, runs: Path) -> None:
    out = runs / "by_command"
    arguments = ["train", "adapt_cpu", "--from", str(model.folder), "--cohort", clinic.place.root, "--out", str(out)]
    found = CliRunner().invoke(main, [*arguments, "epochs=1", "optimiser.warmup=0", "precision=32-true"])
    assert found.exit_code == 0, found.output
    assert load_bundle(out).manifest.name == "adapted"
