"""A made pelvis whose every distance, volume and HU is known: an elliptic cylinder of water with bones and organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.grid import Grid

GRID = Grid((50, 90, 130), (4.0, 4.0, 4.0), (-100.0, -180.0, -260.0), "1.2.3")
BODY_MM = (220.0, 360.0)
"""Height (y) and width (x)."""
ORGANS: Mapping[str, tuple[tuple[float, float, float], float]] = {
    "PTV_7000": ((0.0, 0.0, 0.0), 30.0),
    "Prostate": ((0.0, 0.0, 0.0), 22.0),
    "Rectum": ((0.0, 42.0, 0.0), 20.0),
    "Bladder": ((45.0, -20.0, 0.0), 30.0),
    "PenileBulb": ((-45.0, 10.0, 0.0), 10.0),
    "Femur_Head_L": ((5.0, 0.0, 95.0), 24.0),
    "Femur_Head_R": ((5.0, 0.0, -95.0), 24.0),
}
"""Centre (z, y, x) and radius, mm."""
BONE_HU = 350.0


def ball(centre: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis) for axis in range(3)), indexing="ij")
    return np.asarray((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius_mm**2)


def body(size_mm: tuple[float, float] = BODY_MM) -> NDArray[np.bool_]:
    y, x = np.meshgrid(GRID.axis_mm(1), GRID.axis_mm(2), indexing="ij")
    inside = (2 * y / size_mm[0]) ** 2 + (2 * x / size_mm[1]) ** 2 <= 1
    return np.broadcast_to(inside, GRID.shape).copy()


def structure(name: str, mask: NDArray[np.bool_]) -> Structure:
    return Structure(name, name, Volume(GRID, mask.astype(np.float32)))


def pelvis(size_mm: tuple[float, float] = BODY_MM) -> Case:
    hu = np.where(body(size_mm), 20.0, -1000.0).astype(np.float32)
    for name in ("Femur_Head_L", "Femur_Head_R"):
        hu[ball(*ORGANS[name])] = BONE_HU
    structures = {name: structure(name, ball(*place)) for name, place in ORGANS.items()}
    outline = structure("External", body(size_mm))
    return Case(
        key="pelvis",
        ct=Volume(GRID, hu),
        structures={**structures, "External": outline},
        body=outline,
        prescription=Prescription({"PTV_7000": 70.0}, 28, "test"),
        protocol_name="prostate_70_28",
    )


def with_structures(case: Case, **changed: Structure) -> Case:
    structures = {**case.structures, **{name: replace(one, name=name) for name, one in changed.items()}}
    return replace(case, structures=structures, body=structures.get("External", case.body))
