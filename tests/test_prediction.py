"""From a case and a bundle of any kind to its dose: on the model's grid, cut to the CT, the prior beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.baseline.patients import patient, small_grid
from tests.nn.cases import CHANNELS, GRID, make_case, manifest
from vmat_rt.bundle import Bundle, find_bundle, find_prior_bundle, load_bundle
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.grid import Grid
from vmat_rt.nn.encode import Channels
from vmat_rt.nn.network_bundle import NetworkSettings, pack_network
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.prediction import cut_to, load_predictor, predict_dose


@pytest.fixture(scope="module")
def correcting(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with random weights that is shown the dose of the shipped trees."""
    channels = Channels(names=("ct", "body", "prior"), targets=CHANNELS.targets)
    settings = NetworkSettings(
        unet=UNetSettings(width=4, levels=2, embedding=8), targets=channels.targets, prior="prostate_geometric"
    )
    torch.manual_seed(3)
    network = UNet(settings.unet, len(channels.names), channels.condition_size).eval()
    return pack_network(tmp_path_factory.mktemp("bundle"), manifest(settings, channels), network)


def test_a_geometric_model_has_no_prior() -> None:
    case, bundle = patient(small_grid()), find_bundle("head_neck_70", "head_neck_geometric")
    predicted = predict_dose(case, bundle)
    assert predicted.prior is None
    grid = model_grid(bundle.manifest.grid, case)
    whole = load_predictor(bundle).predict(gridded(case, grid), grid).dose
    np.testing.assert_array_equal(predicted.dose.array, cut_to(whole, case.ct.grid).array)


def test_a_network_gives_the_dose_that_it_corrected_beside_its_own(correcting: Bundle) -> None:
    case, prior = make_case(), find_prior_bundle(correcting)
    assert prior is not None
    predicted = predict_dose(case, correcting, "cpu")
    assert predicted.prior is not None
    assert predicted.prior.grid == predicted.dose.grid
    grid = model_grid(correcting.manifest.grid, case)
    trees = load_predictor(prior).predict(gridded(case, grid), grid).dose
    np.testing.assert_array_equal(predicted.prior.array, cut_to(trees, case.ct.grid).array)
    assert not np.array_equal(predicted.prior.array, predicted.dose.array)


def test_a_prior_that_is_known_is_not_predicted_again(correcting: Bundle) -> None:
    case = gridded(make_case(), GRID)
    network = load_predictor(correcting, "cpu")
    predicted = network.predict(case, GRID)
    assert predicted.prior is not None
    known = network.predict(case, GRID, predicted.prior.array)
    np.testing.assert_array_equal(known.dose.array, predicted.dose.array)
    other = network.predict(case, GRID, predicted.prior.array / 2)
    assert not np.array_equal(other.dose.array, predicted.dose.array)


def test_the_clinical_dose_is_not_seen(correcting: Bundle) -> None:
    case = make_case()
    known = replace(case, reference_dose=Volume(case.ct.grid, np.full(case.ct.grid.shape, 33.0, np.float32)))
    blind, seeing = (predict_dose(one, correcting, "cpu").dose.array for one in (case, known))
    np.testing.assert_array_equal(blind, seeing)


def test_a_model_is_loaded_once(correcting: Bundle) -> None:
    assert load_predictor(correcting, "cpu") is load_predictor(load_bundle(correcting.folder), "cpu")


@pytest.mark.parametrize("kind", ["geometric", "network"])
def test_a_device_of_no_such_name_is_refused_by_every_kind(correcting: Bundle, kind: str) -> None:
    bundle = correcting if kind == "network" else find_bundle("head_neck_70", "head_neck_geometric")
    with pytest.raises(ConfigError, match="no device is called 'gpu'"):
        load_predictor(bundle, "gpu")


def test_cutting_to_the_ct_keeps_values_in_place() -> None:
    grid = Grid((6, 7, 8), (2.0, 3.0, 4.0), (-4.0, -9.0, 0.0), "f")
    dose = Volume(grid, np.arange(6 * 7 * 8, dtype=np.float32).reshape(grid.shape))
    ct = Grid((4, 30, 5), (1.5, 1.0, 3.0), (-1.0, -5.0, 9.0), "f")
    cut = cut_to(dose, ct)
    low, high = ct.bounds_mm
    for axis in range(3):
        assert low[axis] <= cut.grid.origin_mm[axis] <= cut.grid.last_mm[axis] <= high[axis]
    first = np.rint(grid.index_of(np.array(cut.grid.origin_mm))).astype(int)
    assert cut.array[0, 0, 0] == dose.array[tuple(first)]
    assert cut.grid.shape == (3, 5, 4)
