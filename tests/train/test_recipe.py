"""Recipes: the packaged ones, overrides, mistakes said in a line, and arguments that give them again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.train.batches import TABLE
from tests.train.cohorts import tiny_recipe
from vmat_rt.errors import ConfigError
from vmat_rt.train.losses import build_losses
from vmat_rt.train.recipe import OptimiserSettings, PatchSettings, Recipe, arguments_of, load_recipe, packaged_recipes


@pytest.mark.parametrize("name", list(packaged_recipes()))
def test_every_packaged_recipe_loads_is_named_after_its_file_and_survives_yaml(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.model_validate(yaml.safe_load(recipe.as_yaml())) == recipe
    build_losses(recipe.losses, TABLE)


def test_the_reference_recipe_is_the_reference() -> None:
    recipe = load_recipe("baseline_mse")
    assert recipe.patch == PatchSettings(shape=(128, 128, 128), per_case=4, centred_share=0.5, above_percent=10)
    assert (recipe.batch, recipe.epochs, [spec.name for spec in recipe.losses]) == (2, 200, ["mse"])
    assert recipe.optimiser == OptimiserSettings(lr=1e-4, lowest_lr=1e-6, weight_decay=1e-2, clip=1.0)


def test_overrides_change_what_they_name() -> None:
    recipe = load_recipe("baseline_mse", ["epochs=3", "optimiser.lr=2e-4", "patch=null", "losses=[{name: l1}]"])
    assert (recipe.epochs, recipe.optimiser.lr, recipe.patch) == (3, 2e-4, None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "epoch"),
        ("optimiser.momentum=1", "momentum"),
        ("epochs", "key=value"),
        ("name.x=1", "no keys"),
        ("channels.extra=[prior]", "prior"),
    ],
)
def test_overrides_that_cannot_be_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("baseline_mse", [override])


@pytest.mark.parametrize(("recipe", "message"), [("nonsense", "full_grid"), (Path("absent.yaml"), "no recipe file")])
def test_a_recipe_that_is_not_there_is_refused(recipe: str | Path, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe if isinstance(recipe, str) else tmp_path / recipe)


def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(tiny_recipe().as_yaml() + "epochs: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"key epochs stands twice, again in line \d+"):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_recipe(path)


def test_the_arguments_of_a_recipe_give_it_again() -> None:
    overrides = ["prior.beams=false", "channels.extra=[]", "optimiser.lr=1.0e-05", "prior.importance={Larynx: 0.1}"]
    changed = load_recipe("openkbp_cpu", overrides)
    name, *settings = arguments_of(changed)
    assert load_recipe(name, settings) == changed
    assert sorted(settings) == sorted(overrides)
    assert arguments_of(load_recipe("prostate_cpu", ["prior=null"])) == ("prostate_cpu", "prior=null")
    assert arguments_of(load_recipe("wide")) == ("wide",)
    assert arguments_of(tiny_recipe()) == ("recipe.yaml",)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epocs=2", r"there is no key epocs \(did you mean epochs\?\)"),
        ("unet.widht=4", r"there is no key unet\.widht \(did you mean width\?\)"),
        ("nonsense_of_all_sorts=1", r"there is no key nonsense_of_all_sorts;"),
        ("batch=0", r"batch: input should be greater than or equal to 1, not 0"),
        ("validation.metric=mae", r"validation\.metric: input should be 'mae_gy'.*not 'mae'"),
        ("optimiser.lowest_lr=0.1", r"optimiser: lowest_lr is 0\.1, above lr 0\.0001"),
        ("augmentation.shift_mm=.inf", r"augmentation\.shift_mm: input should be"),
        ("augmentation.shift_mm=1e30", r"augmentation\.shift_mm: input should be less than or equal to 1000"),
        ("losses=[{name: l1, weight: .inf}]", r"weight: input should be a finite number"),
    ],
)
def test_mistakes_in_a_recipe_are_said_in_a_line(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_recipe("baseline_mse", [setting])
    assert "pydantic" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_packaged_recipes_leave_the_precision_to_the_hardware() -> None:
    assert {load_recipe(name).precision for name in packaged_recipes()} == {"auto"}


@pytest.mark.parametrize("twin", ["", "_cpu"])
def test_the_combined_recipes_are_the_baselines_but_for_the_loss(twin: str) -> None:
    baseline, combined = load_recipe(f"baseline_mse{twin}"), load_recipe(f"combined_loss{twin}")
    assert combined.uncertainty is not None
    assert {spec.name for spec in combined.losses} >= {"mse", "gradient", "structure_weighted", "asymmetric", "dvh"}
    same = {name: getattr(baseline, name) for name in ("name", "title", "losses", "uncertainty", "bundle")}
    assert combined.model_copy(update=same) == baseline
