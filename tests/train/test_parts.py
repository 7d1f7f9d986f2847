"""The parts of training one by one: recipes, losses, schedule, average, order, patches, scores, checkpoints."""

from __future__ import annotations

import contextlib
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning_fabric import Fabric

from tests.train.cohorts import SETTINGS, patient, tiny_recipe
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.nn.encode import channels_for
from vmat_rt.protocol import load_protocol
from vmat_rt.train.batch import Batch, collate, structure_table
from vmat_rt.train.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint
from vmat_rt.train.ema import Average
from vmat_rt.train.examples import Example, ExampleSettings, example_arrays
from vmat_rt.train.feed import epoch_draws, part_of, patch_start
from vmat_rt.train.losses import LossSpec, build_losses
from vmat_rt.train.objective import learning_rate
from vmat_rt.train.precision import precision_plugin, require_true_gradients, settle_precision
from vmat_rt.train.recipe import OptimiserSettings, PatchSettings, Recipe, arguments_of, load_recipe, packaged_recipes
from vmat_rt.train.validate import CaseScore, case_score, openkbp_score, summarise

PROTOCOL = load_protocol("prostate_sib_70_56")
TABLE = structure_table(PROTOCOL)


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


def test_overrides_and_their_mistakes(tmp_path: Path) -> None:
    recipe = load_recipe("baseline_mse", ["epochs=3", "optimiser.lr=2e-4", "patch=null", "losses=[{name: l1}]"])
    assert (recipe.epochs, recipe.optimiser.lr, recipe.patch) == (3, 2e-4, None)
    for override, said in (
        ("epoch=3", "epoch"),
        ("optimiser.momentum=1", "momentum"),
        ("epochs", "key=value"),
        ("name.x=1", "no keys"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_recipe("baseline_mse", [override])
    with pytest.raises(ConfigError, match="full_grid"):
        load_recipe("nonsense")
    with pytest.raises(ConfigError, match="no recipe file"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="prior"):
        load_recipe("baseline_mse", ["channels.extra=[prior]"])


def test_losses_are_means_over_cases_of_means_over_the_body() -> None:
    losses = build_losses((LossSpec(name="mse", weight=2.0), LossSpec(name="l1")), TABLE)
    small, large = _batch(body_voxels=10, error=0.5), _batch(body_voxels=200, error=-0.1)
    both = collate([small, large])
    total, terms = losses(torch.zeros_like(both.dose), both)
    assert float(terms["mse"]) == pytest.approx((0.25 + 0.01) / 2)
    assert float(terms["l1"]) == pytest.approx((0.5 + 0.1) / 2)
    assert float(total) == pytest.approx(2 * 0.13 + 0.3)
    for bad, said in (
        ([], "each once"),
        ([LossSpec(name="mse"), LossSpec(name="mse")], "each once"),
        ([LossSpec(name="dice")], "no loss is called"),
        ([LossSpec.model_validate({"name": "mse", "power": 3})], "power"),
    ):
        with pytest.raises(ConfigError, match=said):
            build_losses(bad, TABLE)


def _batch(body_voxels: int, error: float) -> Batch:
    """Errors outside the body are a thousand times as large."""
    body = torch.zeros(1, 1, 6, 7, 8)
    body.flatten()[:body_voxels] = 1
    empty = torch.zeros(1, len(TABLE.names), 6, 7, 8)
    flags = torch.zeros(1, len(TABLE.names), dtype=torch.bool)
    dose = torch.where(body > 0, error, 1000 * error)
    return Batch(
        torch.zeros(1, 2, 6, 7, 8), torch.zeros(1, 3), dose, body, empty, flags, flags, torch.ones(1),
        torch.ones(1, 3), ("a",),
    )  # fmt: skip


def test_the_learning_rate_warms_up_and_follows_a_cosine() -> None:
    settings = OptimiserSettings(lr=1.0, lowest_lr=0.1, warmup=4)
    rates = [learning_rate(step, 105, settings) for step in range(105)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[54] == pytest.approx(0.55)
    assert rates[29] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert rates[-1] == pytest.approx(0.1)


def test_the_average_of_weights_in_closed_form() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average, wanted = Average(layer, 0.5), 1.0
    for step in range(12):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    assert float(average.network.weight) == pytest.approx(wanted)


def test_an_epoch_holds_every_case_and_fills_its_last_batch() -> None:
    keys = [f"case-{n}" for n in range(5)]
    draws = epoch_draws(keys, 2, 4, 7, 3)
    assert len(draws) == 12
    assert sorted(draw.key for draw in draws[:10]) == sorted(keys * 2)
    assert draws == epoch_draws(keys, 2, 4, 7, 3)
    assert [d.key for d in draws] != [d.key for d in epoch_draws(keys, 2, 4, 7, 4)]
    assert [d.key for d in draws] != [d.key for d in epoch_draws(keys, 2, 4, 8, 3)]
    values = {float(torch.rand((), generator=draw.generator())) for draw in draws}
    assert len(values) == len(draws)


def test_patches_lie_where_the_recipe_says() -> None:
    dose = np.zeros((20, 30, 40), np.float32)
    dose[15, 20, 10] = 1.0
    centred = PatchSettings(shape=(8, 8, 8), centred_share=1.0)
    random = np.random.default_rng(0)
    assert patch_start(dose, centred, random) == [11, 16, 6]
    anywhere = PatchSettings(shape=(8, 64, 8), centred_share=0.0)
    starts = np.array([patch_start(dose, anywhere, random) for _ in range(400)])
    assert starts.min(axis=0).tolist() == [0, 0, 0]
    assert starts.max(axis=0).tolist() == [12, 0, 32]


def test_a_patch_knows_which_structures_it_holds_whole() -> None:
    case = gridded(patient(3), model_grid(SETTINGS.grid, patient(3)))
    arrays = example_arrays(case, ExampleSettings(channels_for(PROTOCOL), TABLE, 1))
    highest_gy = float(arrays.pop("highest_gy"))
    example = Example(key="a", highest_gy=highest_gy, spacing_mm=case.ct.grid.spacing_mm, **arrays)
    everything = part_of(example, None, np.random.default_rng(0))
    drawn = {name: name in case.structures for name in TABLE.names}
    assert dict(zip(TABLE.names, everything.present[0].tolist(), strict=True)) == drawn
    assert torch.equal(everything.whole, everything.present)
    corner = part_of(example, PatchSettings(shape=(6, 6, 6), centred_share=1.0), np.random.default_rng(1))
    assert corner.dose.shape[2:] == (6, 6, 6)
    assert torch.equal(corner.present, everything.present)
    assert not corner.whole[0, TABLE.names.index("PTV_5600")]


def test_scores_of_a_dose_that_is_too_high_by_one_gray() -> None:
    from dataclasses import replace

    case = gridded(patient(3), model_grid(SETTINGS.grid, patient(3)))
    assert case.reference_dose is not None
    dose = replace(case.reference_dose, array=case.reference_dose.array + np.float32(1))
    score = case_score(case, dose, TABLE)
    assert score["mae_gy"] == pytest.approx(1, abs=1e-4)
    assert score["d95_gap_gy:PTV_7000"] == pytest.approx(1, abs=0.02)
    inside = np.where(case.body.shape.array >= 0.5, dose.array, case.reference_dose.array)  # type: ignore[union-attr]
    challenge = openkbp_score(case, inside, TABLE)
    assert challenge.dose_error_gy == pytest.approx(1, abs=1e-4)
    assert set(challenge.dvh_errors_gy) >= {("D_95", "PTV_7000"), ("mean", "Rectum")}
    assert all(value == pytest.approx(1, abs=1e-3) for value in challenge.dvh_errors_gy.values())
    other = CaseScore({"mae_gy": 3.0, "d95_gap_gy:PTV_7000": -3.0})
    score.key, other.key, score.openkbp = "a", "b", challenge
    means = summarise([other, score])
    assert means["mae_gy"] == pytest.approx(2, abs=1e-4)
    assert means["d95_gap_gy:PTV_7000"] == pytest.approx(-1, abs=0.02)
    assert means["d95_abs_gap_gy"] > 1
    assert means["openkbp_dose_score"] == pytest.approx(1, abs=1e-4)


def test_checkpoints_hold_no_code_and_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pt"
    save_checkpoint(path, {"weights": torch.arange(3.0), "random": random_states()})
    state = load_checkpoint(path)
    drawn = (float(torch.rand(())), float(np.random.random()))  # noqa: NPY002 - the global generator is the point
    restore_random_states(state["random"])
    assert drawn == (float(torch.rand(())), float(np.random.random()))  # noqa: NPY002
    assert [item.name for item in path.parent.iterdir()] == ["last.pt"]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)
    torch.save({"format": 1, "evil": pickle.loads}, path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)


def test_a_residual_needs_a_clamped_output() -> None:
    from vmat_rt.train.material import network_settings

    channels = channels_for(PROTOCOL, ("prior",))
    recipe = tiny_recipe(prior={})
    assert network_settings(recipe, channels).unet.residual_channel == len(channels.names) - 1
    wrong = tiny_recipe(prior={}, unet={"width": 2, "levels": 1, "positive": "softplus"})
    with pytest.raises(ConfigError, match="clamp"):
        network_settings(wrong, channels)


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


@pytest.mark.parametrize(
    ("there", "settled"),
    [
        ((), "32-true"),
        ((torch.bfloat16,), "bf16-mixed"),
        ((torch.bfloat16, torch.float16), "bf16-mixed"),
        ((torch.float16,), "16-mixed"),
    ],
)
def test_precision_is_what_the_hardware_has(
    there: tuple[torch.dtype, ...], settled: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hardware is stood in for: a test machine has one kind. A precision that is named stays, or is refused."""
    monkeypatch.setattr("vmat_rt.train.precision.sixteen_bit_types", lambda device: there)
    cpu = torch.device("cpu")
    with caplog.at_level("INFO"):
        assert settle_precision(tiny_recipe(precision="auto"), cpu).precision == settled
    assert f"precision auto: {settled}" in caplog.text
    names = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    for name, dtype in names.items():
        with contextlib.nullcontext() if dtype in there else pytest.raises(ConfigError, match="precision=32-true"):
            assert settle_precision(tiny_recipe(precision=name), cpu).precision == name
    assert settle_precision(tiny_recipe(precision="32-true"), cpu).precision == "32-true"


def test_layers_compute_in_sixteen_bits_and_losses_see_the_dose_as_it_is() -> None:
    """bfloat16 steps by a quarter of a gray near 70 Gy. Emulated here where the processor lacks it."""
    seen: dict[str, torch.dtype] = {}

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv3d(1, 2, 1)

        def forward(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
            hidden = self.layer(tensors["array"])
            seen.update({name: tensor.dtype for name, tensor in tensors.items()}, hidden=hidden.dtype)
            return hidden.float().mean()

    plugin = precision_plugin(tiny_recipe(precision="bf16-mixed"), torch.device("cpu"))
    Fabric(accelerator="cpu", plugins=plugin).setup(Watched())(
        {"array": torch.ones(1, 1, 2, 2, 2), "dose": torch.ones(1)}
    )
    assert seen == {"array": torch.float32, "dose": torch.float32, "hidden": torch.bfloat16}


def test_packaged_recipes_leave_the_precision_to_the_hardware() -> None:
    assert {load_recipe(name).precision for name in packaged_recipes()} == {"auto"}


@pytest.mark.parametrize(
    ("precision", "device", "depth", "refused"),
    [
        ("bf16-mixed", "cpu", 32, True),
        ("bf16-mixed", "cpu", 17, True),
        ("bf16-mixed", "cpu", 48, False),
        ("bf16-mixed", "cuda", 32, False),
        ("32-true", "cpu", 32, False),
    ],
)
def test_wrong_gradients_are_refused(precision: str, device: str, depth: int, refused: bool) -> None:
    with pytest.raises(ConfigError, match="precision=32-true") if refused else contextlib.nullcontext():
        require_true_gradients(precision, device, (depth, 64, 64), levels=4)
