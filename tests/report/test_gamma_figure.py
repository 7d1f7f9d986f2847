"""The gamma picture: it is a PNG, it shows what failed, and it says so when there is nothing to show."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np

from tests.metrics.doses import GRID, smooth_pair, volume
from vmat_rt.metrics.gamma.index import gamma
from vmat_rt.report.gamma_figure import write_gamma_figure

ORANGE = np.array([0xD5, 0x5E, 0x00]) / 255


def orange_pixels(path: Path) -> int:
    picture = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(picture - ORANGE).max(axis=-1) < 0.02).sum())


def test_failures_are_drawn(tmp_path: Path) -> None:
    """A block 10 Gy too high is painted at the end of the colours; the notice alone is orange elsewhere."""
    reference, _ = smooth_pair(3, GRID)
    wrong = reference.array.copy()
    wrong[3:9, 4:12, 5:14] += 20.0
    write_gamma_figure(gamma(reference, reference), tmp_path / "same.png")
    write_gamma_figure(gamma(reference, volume(wrong)), tmp_path / "wrong.png")
    assert matplotlib.image.imread(tmp_path / "wrong.png").shape[:2] == (624, 1560)
    assert orange_pixels(tmp_path / "wrong.png") > orange_pixels(tmp_path / "same.png") + 3000


def test_nothing_evaluable_is_drawn_as_such(tmp_path: Path) -> None:
    nothing = gamma(volume(np.array(0.0)), volume(np.array(1.0)))
    write_gamma_figure(nothing, tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_result_gives_the_same_file(tmp_path: Path) -> None:
    result = gamma(*smooth_pair(5, GRID), max_gamma=3)
    for name in ("one.png", "two.png"):
        write_gamma_figure(result, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
