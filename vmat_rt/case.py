"""The values that the main line passes on. None of them holds a patient's name, ID, date or file path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vmat_rt.errors import GeometryError, Problem
from vmat_rt.grid import Grid

if TYPE_CHECKING:
    from vmat_rt.protocol import Protocol

FloatArray = NDArray[np.float32]
AIR_HU: Final = -1000.0
"""What a CT holds outside the patient, and outside itself."""
Polygon = NDArray[np.float64]
"""Vertices (n, 2) of one closed contour as (y, x) in LPS mm; the last vertex is not repeated."""


@dataclass(frozen=True)
class Volume:
    """An array (z, y, x) and the grid it lies on. Unit by use: HU, Gy or area fraction."""

    grid: Grid
    array: FloatArray

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GeometryError(f"array of shape {self.array.shape} on a grid of {self.grid.shape}")


@dataclass(frozen=True)
class ContourPlane:
    """All closed contours of one structure at one z (LPS mm); they combine by even-odd (XOR)."""

    z_mm: float
    polygons: tuple[Polygon, ...]


@dataclass(frozen=True)
class Contours:
    """A structure as planar contours, axial, ascending in z, in one frame of reference.

    slab_mm is the thickness that one plane stands for: the usual distance between neighbouring planes of this
    structure (or, for a single plane, of the CT or the other structures). connected tells whether planes i and i + 1
    belong together where that is known better (from the CT's slices); else planes further apart than 1.5 slabs do
    not. The solid is: linear interpolation of the area between connected planes, at each end as much as is left until
    its area comes to nothing, or half a slab (half the distance between planes there, where it is another) where it
    does not before a next plane; see vmat_rt.geometry.ends.
    """

    planes: tuple[ContourPlane, ...]
    slab_mm: float
    frame_uid: str
    connected: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Structure:
    """One region of interest. name is the TG-263 name that the protocol knows, or None for an unmapped ROI.

    shape is contours as read, a Volume of area fractions in [0, 1] where only voxels are known, or None for an ROI
    without closed contours (points, or nothing). number is the ROINumber it was read with, if any.
    """

    roi_name: str
    name: str | None
    shape: Contours | Volume | None
    number: int | None = None

    @property
    def frame_uid(self) -> str | None:
        """FrameOfReferenceUID that it lies in; None without contours or voxels."""
        if self.shape is None:
            return None
        return self.shape.frame_uid if isinstance(self.shape, Contours) else self.shape.grid.frame_uid

    @property
    def contour_count(self) -> int:
        """Closed planar contours read for this ROI; 0 where only voxels are known."""
        return sum(len(p.polygons) for p in self.shape.planes) if isinstance(self.shape, Contours) else 0


@dataclass(frozen=True)
class Prescription:
    """Dose per target, Gy in total over all fractions, keyed by TG-263 name, and where it was found."""

    dose_gy: Mapping[str, float]
    fractions: int
    source: str

    @property
    def highest_gy(self) -> float:
        return max(self.dose_gy.values())

    @property
    def lowest_gy(self) -> float:
        return min(self.dose_gy.values())

    def in_words(self) -> str:
        """The doses from high to low and the fractions: `70 and 56 Gy in 28 fractions`."""
        doses = [f"{dose:g}" for dose in sorted(set(self.dose_gy.values()), reverse=True)]
        listed = f"{', '.join(doses[:-1])} and {doses[-1]}" if len(doses) > 1 else doses[0]
        return f"{listed} Gy in {self.fractions} fraction{'s' if self.fractions != 1 else ''}"


@dataclass(frozen=True)
class Case:
    """One patient ready for prediction, without identity.

    key is a random-looking stable name; structures are keyed by TG-263 name; unmapped holds the other ROIs.
    body is the External contour, or the voxels found in CT. reference_dose is the clinical dose when one came with
    the study; reference_simulated says that it was computed for a simulated patient instead. gantry_angles_deg come
    from the plan, or are empty where there is none. problems are warnings only.
    """

    key: str
    ct: Volume
    structures: Mapping[str, Structure]
    body: Structure
    prescription: Prescription
    protocol_name: str
    unmapped: tuple[Structure, ...] = ()
    reference_dose: Volume | None = None
    gantry_angles_deg: tuple[float, ...] = ()
    problems: tuple[Problem, ...] = ()
    reference_simulated: bool = False

    @classmethod
    def from_arrays(
        cls,
        ct_hu: ArrayLike,
        spacing_mm: Sequence[float],
        origin_mm: Sequence[float],
        masks: Mapping[str, ArrayLike],
        prescription: Mapping[str, float],
        *,
        fractions: int | None = None,
        dose_gy: ArrayLike | None = None,
        key: str = "",
        protocol: Protocol | str | Path | None = None,
    ) -> Case:
        """Make a case of numpy arrays, by the rules that hold for DICOM.

        Every array is (z, y, x) on one grid that grows to the head, the back and the patient's left. ct_hu: HU.
        spacing_mm, origin_mm: (z, y, x), the origin is the centre of the first voxel in LPS. masks: by TG-263 name
        or an alias of the protocol, each of bool, of 0 and 1, or of area fractions in [0, 1]. prescription: total Gy
        by target; targets that it leaves out get the protocol's dose. fractions: by default the protocol's. dose_gy:
        the clinical dose, Gy in total. key: names the case; by default it follows from the content. protocol: a name,
        a YAML file or a Protocol; by default the packaged one that fits the masks' names.

        Without a mask of the outline it is found in the CT, which the case's problems say. Raises InputError with
        everything that is wrong with the call, ConfigError when the protocol cannot be read.
        """
        from vmat_rt.assembly.arrays import PatientArrays, case_from_arrays

        arrays = PatientArrays(ct_hu, spacing_mm, origin_mm, masks, dose_gy)
        return case_from_arrays(arrays, prescription, fractions, protocol, key)

    def targets(self) -> dict[str, float]:
        """Prescribed targets that are contoured, highest dose first: name -> Gy."""
        present = {n: d for n, d in self.prescription.dose_gy.items() if n in self.structures}
        return dict(sorted(present.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class ModelIdentity:
    """What a report and a DICOM file must say of the model that made the dose."""

    name: str
    version: str
    kind: str
    protocol_name: str
    sha256: str
    trained_on: str
    limits: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
