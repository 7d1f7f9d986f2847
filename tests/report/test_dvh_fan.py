"""The DVH fan: its bands in closed form, and what is drawn of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vmat_rt.report.dvh_fan import DvhFan, compute_quantiles, draw_dvh_fan

LEVELS = 0.5 * np.arange(161)


def steps(ends_gy: list[float]) -> NDArray[np.float32]:
    """Cases whose whole structure gets one dose each."""
    return np.array([[100.0 if level <= end else 0.0 for level in LEVELS] for end in ends_gy], np.float32)


def ramp_fan(name: str = "Rectum", colour: str = "#0077bb") -> DvhFan:
    """101 cases at 0, 1 ... 100 % at every dose."""
    percent = np.repeat(np.arange(101, dtype=np.float32)[:, None], len(LEVELS), axis=1)
    return DvhFan(name, colour, LEVELS, percent)


def test_bands_are_percentiles_of_the_cases_at_each_dose() -> None:
    curves = compute_quantiles(ramp_fan())
    expected = {"lowest": 0.0, "tenth": 10.0, "median": 50.0, "ninetieth": 90.0, "highest": 100.0}
    assert {name: float(np.unique(curve).item()) for name, curve in curves.items()} == expected
    of_steps = compute_quantiles(DvhFan("x", "#000000", LEVELS, steps([float(v) for v in range(10, 71, 6)])))
    assert LEVELS[of_steps["median"] == 100].max() == 40.0
    assert LEVELS[of_steps["lowest"] == 100].max() == 10.0
    assert LEVELS[of_steps["highest"] == 100].max() == 70.0


def pixels(png: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)


def near(picture: NDArray[np.int64], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture - colour).sum(axis=2) < 24)


def mixed(alphas: list[float], colour: tuple[int, int, int] = (0, 119, 187)) -> tuple[int, int, int]:
    """The colour laid over white so often."""
    channels = np.full(3, 255.0)
    for alpha in alphas:
        channels = channels * (1 - alpha) + np.array(colour) * alpha
    r, g, b = channels.round().astype(int).tolist()
    return r, g, b


def test_the_dark_band_covers_eighty_percent_and_the_light_one_the_rest() -> None:
    picture = pixels(draw_dvh_fan([ramp_fan()], [56.0, 70.0], "Cohort x", simulated=False))
    column = picture[:, picture.shape[1] // 3]
    dark = int(near(column[None], mixed([0.18, 0.38])).sum())
    light = int(near(column[None], mixed([0.18])).sum())
    # Grid lines and the median cut a few pixels out.
    assert dark / light == pytest.approx(80 / 20, rel=0.15)


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_one_panel_a_structure(count: int) -> None:
    colours = [f"#{40 + 15 * i:02x}0077" for i in range(count)]
    picture = pixels(
        draw_dvh_fan([ramp_fan(f"S{i}", c) for i, c in enumerate(colours)], [], "Cohort x", simulated=False)
    )
    for colour in colours:
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert (np.abs(picture - rgb).sum(axis=2) < 8).sum() > 100, colour  # the median line


def test_simulated_is_said_and_nothing_overlaps_it() -> None:
    orange = (179, 92, 0)
    counts = {}
    for simulated in (False, True):
        picture = pixels(draw_dvh_fan([ramp_fan()], [70.0], "Cohort with a name", simulated))
        counts[simulated] = int(near(picture[:60], orange).sum())
    assert counts[False] == 0
    assert counts[True] > 300
