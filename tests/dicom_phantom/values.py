"""What a phantom study is made of: options, regions, and what is true of the files once they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    ExplicitVRLittleEndian,
    generate_uid,
)

from vmat_rt.case import Polygon
from vmat_rt.grid import Grid

ORIENTATIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
}
SHAPE = (11, 40, 52)
SPACING_MM = (3.0, 2.5, 2.0)
ORIGIN_MM = (-31.5, -47.3, -55.7)


@dataclass(frozen=True)
class Drawn:
    """One ROI: closed polygons (y, x) mm by z mm. number is its ROINumber; geometric_type goes to every contour."""

    name: str
    number: int
    planes: Mapping[float, Sequence[Polygon]]
    interpreted_type: str = ""
    geometric_type: str = "CLOSED_PLANAR"


@dataclass(frozen=True)
class Options:
    """What `write_study` writes. seed makes every UID; patient is name and ID; rois None means `default_rois`."""

    position: str = "HFS"
    transfer_syntax: str = ExplicitVRLittleEndian
    signed: bool = True
    bits_stored: int = 16
    slopes: tuple[float, ...] = (1.0,)  # slice k takes slopes[k % len]
    intercept: float = -1024.0
    shape: tuple[int, int, int] = SHAPE
    spacing_mm: tuple[float, float, float] = SPACING_MM
    origin_mm: tuple[float, float, float] = ORIGIN_MM
    ct: bool = True
    structures: bool = True
    plan: bool = False
    dose: bool = False
    rois: tuple[Drawn, ...] | None = None
    prescription_gy: Mapping[int, float] = field(default_factory=lambda: {1: 70.0, 2: 56.0})
    fractions: int = 28
    patient: str = "PHANTOM"
    seed: str = "phantom"

    def uid(self, name: str) -> str:
        return str(generate_uid(entropy_srcs=[self.seed, name]))


@dataclass(frozen=True)
class Phantom:
    """A written study and its truth: hu and dose_gy (z, y, x) on `grid`; ct_files ascending in z."""

    folder: Path
    grid: Grid
    hu: NDArray[np.float32]
    dose_gy: NDArray[np.float32]
    rois: tuple[Drawn, ...]
    ct_files: tuple[Path, ...]
    structures_file: Path
    plan_file: Path
    dose_file: Path
    options: Options
