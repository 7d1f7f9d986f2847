"""The compiled kernels against scipy and closed forms: samples between voxels, and water-equivalent depths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from vmat_rt.geometry.ray_kernels import DEPTH_STEP_MM, SAD_MM, sample, sum_depths


def test_samples_within_the_volume_are_trilinear() -> None:
    random = np.random.default_rng(1)
    volume = random.random((5, 6, 7)).astype(np.float32)
    places = random.uniform(0, 1, (200, 3)) * (np.array(volume.shape) - 1)
    truth = map_coordinates(volume.astype(float), places.T, order=1)
    assert [sample(volume, *place) for place in places] == pytest.approx(truth.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ((-9.0, 1.0, 1.0), 2.0),  # z is held at its ends
        ((99.0, 1.0, 1.0), 2.0),
        ((1.0, -0.25, 1.0), 1.5),  # in y and x it falls to nothing within a voxel
        ((1.0, 1.0, 2.75), 0.5),
        ((1.0, -1.0, 1.0), 0.0),
        ((1.0, 1.0, 3.0), 0.0),
        ((1.0, 57.0, -40.0), 0.0),
    ],
)
def test_samples_at_and_beyond_the_ends(place: tuple[float, float, float], wanted: float) -> None:
    assert sample(np.full((2, 3, 3), 2.0, np.float32), *place) == pytest.approx(wanted)


@pytest.mark.parametrize(("sine", "cosine"), [(0.0, 1.0), (1.0, 0.0), (0.6, 0.8)])
def test_depth_in_half_dense_matter_is_half_the_way_and_longer_for_oblique_rays(sine: float, cosine: float) -> None:
    """A large block of density 0.5: past its surface, depth grows by half the path along each ray."""
    density = np.full((61, 81, 81), 0.5, np.float32)
    place = np.array([-150.0, -200.0, -200.0, 5.0, 5.0, 5.0])
    start, shape = np.array([-10.0, -15.0, -60.0]), (5, 7, 25)
    table = sum_depths(density, place, (sine, cosine), np.zeros(3), start, shape)
    growth = np.diff(table, axis=2)
    v, u = (start[a] + DEPTH_STEP_MM * np.arange(shape[a]) for a in (0, 1))
    longer = np.sqrt(1 + (u[None, :] ** 2 + v[:, None] ** 2) / SAD_MM**2)
    np.testing.assert_allclose(
        growth, np.broadcast_to(0.5 * DEPTH_STEP_MM * longer[..., None], growth.shape), rtol=1e-4
    )
    assert not table[..., 0].any()
