"""Channels by hand: window, overlap of prescriptions, distances, absent structures, priors, and names that are none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nn.cases import GRID, as_voxels, make_case, without
from vmat_rt.case import Case
from vmat_rt.errors import ConfigError
from vmat_rt.nn.channels import CHANNELS, compute_channel, parse_channel, require_known
from vmat_rt.nn.scene import Normalisation, Scene

TARGETS = ("PTV_7000", "PTV_5600")


@pytest.fixture(scope="module")
def case() -> Case:
    return as_voxels(make_case(), GRID)


def scene(case: Case, prior_gy: np.ndarray | None = None) -> Scene:
    return Scene(case, GRID, Normalisation(), (0.0, 90.0), prior_gy, TARGETS)


def fraction(case: Case, name: str) -> np.ndarray:
    return case.structures[name].shape.array  # type: ignore[union-attr]


def test_where_targets_overlap_the_higher_dose_wins_and_edges_mix_by_area(case: Case) -> None:
    high, low = fraction(case, "PTV_7000"), fraction(case, "PTV_5600")
    wanted = high + (1 - high) * low * np.float32(0.8)
    np.testing.assert_allclose(compute_channel(scene(case), "prescription"), wanted, atol=1e-6)


def test_a_target_that_is_absent_paints_nothing(case: Case) -> None:
    found = compute_channel(scene(without(case, "PTV_5600")), "prescription")
    np.testing.assert_allclose(found, fraction(case, "PTV_7000"), atol=1e-6)


def test_the_ct_is_its_window_and_the_body_its_fraction(case: Case) -> None:
    found = compute_channel(scene(case), "ct")
    assert found.dtype == np.float32
    assert (found.min(), found.max()) >= (-1, -1)
    assert np.abs(found).max() <= 1
    outside = case.body.shape.array == 0  # type: ignore[union-attr]
    assert np.median(found[outside]) == -1
    np.testing.assert_array_equal(compute_channel(scene(case), "body"), case.body.shape.array)  # type: ignore[union-attr]


def test_a_distance_is_negative_inside_and_has_its_own_value_where_there_is_none(case: Case) -> None:
    found = compute_channel(scene(case), "distance:PTV_7000")
    inside = fraction(case, "PTV_7000") > 0.99
    assert found[inside].max() < 0
    assert found.min() == pytest.approx(-21 / 50, abs=0.06)  # the ball's radius over distance_mm
    assert found.max() == 1
    absent = compute_channel(scene(case), "distance:Rectum")
    assert set(np.unique(absent)) == {np.float32(Normalisation().absent)}


def test_beams_do_not_aim_at_an_absent_target_and_unknown_maps_are_refused(case: Case) -> None:
    assert not compute_channel(scene(without(case, "PTV_5600")), "beam:beam_PTV_5600").any()
    with pytest.raises(ConfigError, match="no beam map is called 'nonsense'"):
        compute_channel(scene(case), "beam:nonsense")


def test_a_prior_is_relative_to_the_highest_dose_and_must_be_there(case: Case) -> None:
    prior = np.full(GRID.shape, 35.0, np.float32)
    np.testing.assert_allclose(compute_channel(scene(case, prior), "prior"), 0.5)
    with pytest.raises(ConfigError, match="none was given"):
        compute_channel(scene(case), "prior")


@pytest.mark.parametrize("name", ["", "ctt", "ct:", "ct:x", "distance", "distance:", ":ct", "beam", "prior:x"])
def test_a_name_that_is_none_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_channel(name)
    assert all(word in str(caught.value) for word in CHANNELS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("distance:Rektum", r"did you mean distance:Rectum\?"),
        ("distance:Xyz", "there are PTV_7000, Rectum"),
        ("beam:beam_PTV_700", r"did you mean beam:beam_PTV_7000\?"),
    ],
)
def test_a_structure_that_no_protocol_has_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_known(["ct", name], ["PTV_7000", "Rectum"], ["PTV_7000"])
    require_known(["ct", "distance:Rectum", "prior"], ["PTV_7000", "Rectum"], ["PTV_7000"])
