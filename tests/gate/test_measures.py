"""What is measured on a made pelvis, against its construction. Covered with it: contents of balls of known HU.

Covers vmat_rt.gate.contents, vmat_rt.gate.site and vmat_rt.gate.volumes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.gate.pelvis import BODY_MM, BONE_HU, GRID, ORGANS, ball, pelvis, structure
from vmat_rt.case import Volume
from vmat_rt.gate.contents import contents_problems
from vmat_rt.gate.measures import measure
from vmat_rt.gate.site import site_problems
from vmat_rt.gate.volumes import volume_problems


def test_places_volumes_and_hu() -> None:
    measures = measure(pelvis())
    for name, (centre, radius) in ORGANS.items():
        contents = measures.contents[name]
        assert contents.centre_mm == pytest.approx(centre, abs=2.1)
        assert contents.volume_cc == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.12)
        assert contents.in_patient == pytest.approx(1.0)
        assert contents.in_air == 0.0
        assert contents.hu[1] == (BONE_HU if name.startswith("Femur") else 20.0)
    assert measures.body_mm == pytest.approx(BODY_MM, abs=8.0)
    assert measures.body_in_air == pytest.approx(0.0, abs=0.01)
    assert measures.metal_cc == 0.0
    assert measures.metal_mm == float("inf")


def test_half_in_air_is_half() -> None:
    case = pelvis()
    hu = case.ct.array.copy()
    bladder = ball(*ORGANS["Bladder"])
    upper = bladder & (np.arange(GRID.shape[0])[:, None, None] >= np.argwhere(bladder)[:, 0].mean())
    hu[upper] = -900.0
    share = np.count_nonzero(upper) / np.count_nonzero(bladder)
    found = measure(replace(case, ct=Volume(GRID, hu)))
    assert found.contents["Bladder"].in_air == pytest.approx(share, abs=1e-6)
    assert [p.code for p in contents_problems(found)] == ["STRUCTURE_IN_AIR"]


def test_metal_is_measured_from_the_targets() -> None:
    case = pelvis()
    hu = case.ct.array.copy()
    hu[ball((0, 0, 80), 6.0)] = 3000.0
    found = measure(replace(case, ct=Volume(GRID, hu)))
    assert found.metal_cc == pytest.approx(np.count_nonzero(hu > 2000) * GRID.voxel_cc)
    assert found.metal_mm == pytest.approx(80 - 6 - 32, abs=6.0)


def test_usual_volumes_are_those_of_the_site() -> None:
    small = {
        "Bladder": structure("Bladder", ball((0, 0, 0), 8.0)),
        "Rectum": structure("Rectum", ball((0, 40, 0), 20.0)),
    }
    (problem,) = volume_problems(small, "prostate")
    assert problem.code == "VOLUME_UNUSUAL"
    assert "Bladder" in problem.message
    assert not list(volume_problems(small, "elsewhere"))


def test_a_site_without_known_sizes_is_not_asked() -> None:
    assert not list(site_problems(measure(pelvis((200.0, 160.0))), "head and neck"))
    assert [p.code for p in site_problems(measure(pelvis((200.0, 160.0))), "prostate")] == ["BODY_SITE"]
