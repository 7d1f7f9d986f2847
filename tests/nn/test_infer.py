"""Networks at work: what is predicted, finished and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nn.cases import CHANNELS, GRID, make_case, manifest
from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.grid import Grid
from vmat_rt.nn.encode import Channels, encode, mirror
from vmat_rt.nn.infer import NetworkPredictor, Plan, dose_gy, run_network
from vmat_rt.nn.network_bundle import NetworkSettings, pack_network
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.nn.windows import Window
from vmat_rt.predictor import PredictedDose

UNET = UNetSettings(width=4, levels=2, embedding=8)
SETTINGS = NetworkSettings(unet=UNET, targets=CHANNELS.targets)


def trained(settings: NetworkSettings, channels: Channels = CHANNELS) -> UNet:
    """Not trained at all, but with every weight in use: FiLM starts at zero."""
    torch.manual_seed(11)
    network = UNet(settings.unet, len(channels.names), channels.condition_size).eval()
    for name, parameter in network.named_parameters():
        if "film" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.constant_(network.head.bias, 0.5)
    return network


def predictor(
    folder: Path, settings: NetworkSettings, spoil: Callable[[UNet], object] | None = None
) -> NetworkPredictor:
    network = trained(settings)
    if spoil is not None:
        spoil(network)
    return NetworkPredictor(pack_network(folder, manifest(settings), network), "cpu")


def test_dose_is_the_networks_output_times_the_prescription_inside_the_body(tmp_path: Path) -> None:
    dose = predictor(tmp_path, SETTINGS).predict(make_case(), GRID).dose.array
    encoded = encode(make_case(), GRID, CHANNELS)
    with torch.inference_mode():
        relative = trained(SETTINGS)(torch.from_numpy(encoded.array)[None], torch.from_numpy(encoded.condition)[None])
    expected = 70 * relative[0, 0].numpy() * (encoded.body >= 0.5)
    assert dose.dtype == np.float32
    assert dose.shape == GRID.shape
    assert dose.flags.c_contiguous
    assert dose.min() == 0
    assert dose.max() > 5
    assert (dose[encoded.body < 0.5] == 0).all()
    np.testing.assert_allclose(dose, expected, atol=2e-3)


def test_a_cpu_gives_the_same_bits_twice(tmp_path: Path) -> None:
    network = predictor(tmp_path, SETTINGS)
    first, second = (network.predict(make_case(), GRID).dose.array for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_whole_dose_follows_the_prescription(tmp_path: Path) -> None:
    network = predictor(tmp_path, SETTINGS, lambda n: [torch.nn.init.zeros_(b.film.weight) for b in blocks(n)])
    case = make_case()
    double = replace(case.prescription, dose_gy={"PTV_7000": 35.0, "PTV_5600": 28.0})
    half = network.predict(replace(case, prescription=double), GRID).dose.array
    np.testing.assert_allclose(2 * half, network.predict(case, GRID).dose.array, rtol=1e-5)


def blocks(network: UNet) -> list[torch.nn.Module]:
    return [*network.encoder, network.bottleneck, *network.decoder]


def test_output_that_is_not_finite_is_refused_with_its_count() -> None:
    encoded = encode(make_case(), GRID, CHANNELS)
    relative = np.zeros(GRID.shape, np.float32)
    relative[3, 4, 5:8] = (np.nan, np.inf, -np.inf)
    with pytest.raises(ModelError, match=f"no finite dose in 3 of {24 * 28 * 38} voxels"):
        dose_gy(relative, encoded)


def test_a_ct_that_is_not_finite_gives_no_dose(tmp_path: Path) -> None:
    case = make_case()
    hu = case.ct.array.copy()
    hu[10, 20, 30] = np.nan
    with pytest.raises(ModelError, match="no finite dose"):
        predictor(tmp_path, SETTINGS).predict(replace(case, ct=replace(case.ct, array=hu)), GRID)


def test_windows_are_used_when_the_bundle_asks_and_cover_the_body(tmp_path: Path) -> None:
    windowed = SETTINGS.model_copy(update={"window": Window(patch=(16, 24, 30), overlap=(8, 8, 10))})
    whole = predictor(tmp_path / "a", SETTINGS).predict(make_case(), GRID).dose.array
    parts = predictor(tmp_path / "b", windowed).predict(make_case(), GRID).dose.array
    assert np.abs(whole - parts).max() > 0.1  # its normalisation sees a patch, not the grid
    constant = predictor(tmp_path / "c", windowed, lambda n: torch.nn.init.zeros_(n.head.weight))
    body = encode(make_case(), GRID, CHANNELS).body >= 0.5
    np.testing.assert_allclose(constant.predict(make_case(), GRID).dose.array, np.where(body, 35.0, 0.0), rtol=1e-6)


def test_a_window_larger_than_the_grid_is_the_whole_grid(tmp_path: Path) -> None:
    windowed = SETTINGS.model_copy(update={"window": Window()})
    whole = predictor(tmp_path / "a", SETTINGS).predict(make_case(), GRID).dose.array
    windows = predictor(tmp_path / "b", windowed).predict(make_case(), GRID).dose.array
    np.testing.assert_allclose(windows, whole, atol=1e-4)


@pytest.mark.parametrize("window", [None, Window(patch=(24, 24, 24), overlap=(8, 8, 8))])
def test_flip_averaging_is_symmetric(window: Window | None) -> None:
    """The average of the mirrored patient is the mirror image of the patient's average."""
    network = trained(SETTINGS)
    swap = mirror(CHANNELS)
    plan = Plan(window, swap)
    encoded = encode(make_case(), GRID, CHANNELS)
    x, condition = torch.from_numpy(encoded.array)[None], torch.from_numpy(encoded.condition)[None]
    condition[0, 4] = 0.0  # one femur's flag, so that a swap of the condition shows
    with torch.inference_mode():
        straight = run_network(network, x, condition, plan)
        other = run_network(network, x[:, list(swap.channels)].flip(-1), condition[:, list(swap.condition)], plan)
        alone = run_network(network, x, condition, Plan(window))
    torch.testing.assert_close(straight, other.flip(-1), atol=1e-5, rtol=1e-4)
    assert (straight - alone).abs().max() > 1e-3


def test_flip_averaging_needs_both_sides(tmp_path: Path) -> None:
    channels = Channels(names=("ct", "distance:Femur_Head_L"), targets=CHANNELS.targets)
    settings = SETTINGS.model_copy(update={"flip_average": True})
    bundle = pack_network(tmp_path, manifest(settings, channels), trained(settings, channels))
    with pytest.raises(ConfigError, match="Femur_Head_L"):
        NetworkPredictor(bundle, "cpu")


def test_a_network_that_corrects_a_prior(tmp_path: Path) -> None:
    channels = Channels(names=("ct", "prior"), targets=CHANNELS.targets)
    unet = UNET.model_copy(update={"residual_channel": 1})
    settings = SETTINGS.model_copy(update={"unet": unet, "prior": "geometric_prostate"})
    network = trained(settings, channels)
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    predict = NetworkPredictor(pack_network(tmp_path, manifest(settings, channels), network), "cpu")
    prior_gy = np.random.default_rng(5).uniform(0, 70, GRID.shape).astype(np.float32)
    predicted = predict.predict(make_case(), GRID, prior_gy)
    assert predicted.prior is not None
    np.testing.assert_array_equal(predicted.prior.array, prior_gy)
    dose = predicted.dose.array
    inside = encode(make_case(), GRID, CHANNELS).body >= 0.5
    np.testing.assert_allclose(dose, np.where(inside, prior_gy, 0), rtol=2**-11, atol=1e-5)
    with pytest.raises(ConfigError, match="prior"):
        predict.predict(make_case(), GRID)


@pytest.mark.parametrize("coarsen", [1, 2])
def test_a_prior_has_its_share_in_the_result(tmp_path: Path, coarsen: int) -> None:
    channels = Channels(names=("ct", "prior"), targets=CHANNELS.targets)
    alone = SETTINGS.model_copy(update={"prior": "geometric_prostate", "coarsen": coarsen})
    shared = alone.model_copy(update={"prior_share": 0.25})
    bundles = [
        pack_network(tmp_path / str(s.prior_share), manifest(s, channels), trained(s, channels))
        for s in (alone, shared)
    ]
    prior_gy = np.random.default_rng(5).uniform(0, 70, GRID.shape).astype(np.float32)
    network, both = (
        NetworkPredictor(bundle, "cpu").predict(make_case(), GRID, prior_gy).dose.array for bundle in bundles
    )
    np.testing.assert_allclose(both, 0.75 * network + 0.25 * prior_gy, atol=1e-3)


def test_a_prior_that_is_not_given_is_predicted(tmp_path: Path) -> None:
    channels = Channels(names=("ct", "prior"), targets=CHANNELS.targets)
    settings = SETTINGS.model_copy(update={"prior": "geometric_prostate"})
    bundle = pack_network(tmp_path, manifest(settings, channels), trained(settings, channels))
    prior_gy = np.random.default_rng(5).uniform(0, 70, GRID.shape).astype(np.float32)
    predicted = NetworkPredictor(bundle, "cpu", prior=Constant(prior_gy)).predict(make_case(), GRID)
    given = NetworkPredictor(bundle, "cpu").predict(make_case(), GRID, prior_gy)
    assert predicted.prior is not None
    np.testing.assert_array_equal(predicted.prior.array, prior_gy)
    np.testing.assert_array_equal(predicted.dose.array, given.dose.array)


@dataclass(frozen=True)
class Constant:
    """A prior that gives the same dose to everybody."""

    dose_gy: FloatArray

    def predict(self, case: Case, grid: Grid, prior_gy: FloatArray | None = None) -> PredictedDose:
        return PredictedDose(Volume(grid, self.dose_gy))


def test_a_network_without_a_prior_takes_none_and_names_none(tmp_path: Path) -> None:
    network = predictor(tmp_path, SETTINGS)
    assert network.predict(make_case(), GRID).prior is None
    with pytest.raises(ConfigError, match="corrects no prior"):
        network.predict(make_case(), GRID, np.zeros(GRID.shape, np.float32))


def test_the_detail_of_a_prior_stays_where_only_the_difference_from_it_is_brought_back(tmp_path: Path) -> None:
    """Two priors that differ within blocks only are one to the network; its dose then differs as they do."""
    channels = Channels(names=("ct", "prior"), targets=CHANNELS.targets)
    settings = SETTINGS.model_copy(update={"prior": "geometric_prostate", "coarsen": 2, "prior_detail": True})
    predict = NetworkPredictor(pack_network(tmp_path, manifest(settings, channels), trained(settings, channels)), "cpu")
    smooth = np.full(GRID.shape, 30.0, np.float32)
    checks = np.where(np.indices(GRID.shape).sum(axis=0) % 2, np.float32(1), np.float32(-1))
    deep = np.zeros(GRID.shape, bool)
    deep[6:-6, 6:-6, 8:-8] = True  # blocks without a skin, whose averages the checks leave alone
    fine = smooth + np.where(deep, checks, np.float32(0))
    dose, other = (predict.predict(make_case(), GRID, prior).dose.array for prior in (smooth, fine))
    inside = (encode(make_case(), GRID, CHANNELS).body[deep] > 0.99) & (dose[deep] > 2)  # none is kept from below zero
    assert inside.sum() > 3000
    np.testing.assert_allclose((other - dose)[deep][inside], checks[deep][inside], atol=1e-3)


@pytest.mark.parametrize("setting", [{"prior_share": 0.5}, {"prior_detail": True}])
def test_a_share_or_detail_without_a_prior_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="prior_share"):
        NetworkSettings.model_validate({**SETTINGS.model_dump(), **setting})


def test_a_missing_device_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    bundle = pack_network(tmp_path, manifest(SETTINGS), trained(SETTINGS))
    with pytest.raises(ConfigError):
        NetworkPredictor(bundle, f"cuda:{torch.cuda.device_count()}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    bundle = pack_network(tmp_path, manifest(SETTINGS), trained(SETTINGS))
    on_cpu = NetworkPredictor(bundle, "cpu").predict(make_case(), GRID).dose.array
    on_cuda = NetworkPredictor(bundle, "cuda", "float32").predict(make_case(), GRID).dose.array
    np.testing.assert_allclose(on_cuda, on_cpu, atol=0.05)
    mixed = NetworkPredictor(bundle, "cuda").predict(make_case(), GRID).dose.array
    assert np.abs(mixed - on_cpu).mean() < 0.3
