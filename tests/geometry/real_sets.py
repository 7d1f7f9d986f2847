"""The real RT sets of the shared folder, read with pydicom alone: contours, grid and truth for tests of geometry."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray

from vmat_rt.case import ContourPlane, Contours
from vmat_rt.grid import Grid


@dataclass(frozen=True)
class RealSet:
    grid: Grid
    contours: Contours
    truth: NDArray[np.bool_] | None


def read_set(folder: Path) -> RealSet:
    """CT/ and RTSTRUCT/ of one patient; its only ROI; the truth mask where there is one."""
    grid = ct_grid(sorted((folder / "CT").glob("*.dcm")))
    (structures,) = (folder / "RTSTRUCT").glob("*.dcm")
    mask = folder / "truth" / "CT_mask.nii.gz"
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(mask))).astype(bool) if mask.is_file() else None
    return RealSet(grid, only_roi(pydicom.dcmread(structures), grid), truth)


def ct_grid(files: list[Path]) -> Grid:
    slices = sorted(
        (pydicom.dcmread(f, stop_before_pixels=True) for f in files), key=lambda s: s.ImagePositionPatient[2]
    )
    first, last = slices[0], slices[-1]
    assert [abs(v) for v in first.ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    z0, z1 = float(first.ImagePositionPatient[2]), float(last.ImagePositionPatient[2])
    sy, sx = (float(v) for v in first.PixelSpacing)
    x0, y0 = (float(v) for v in first.ImagePositionPatient[:2])
    spacing = ((z1 - z0) / (len(slices) - 1), sy, sx)
    return Grid((len(slices), first.Rows, first.Columns), spacing, (z0, y0, x0), "real")


def only_roi(dataset: pydicom.Dataset, grid: Grid) -> Contours:
    (roi,) = dataset.ROIContourSequence
    by_z: dict[float, list[NDArray[np.float64]]] = {}
    for contour in roi.ContourSequence:
        points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
        by_z.setdefault(round(float(points[0, 2]), 3), []).append(points[:, [1, 0]])
    planes = tuple(ContourPlane(z, tuple(by_z[z])) for z in sorted(by_z))
    return Contours(planes, grid.spacing_mm[0], grid.frame_uid)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive of a patient; the folder that holds CT and RTSTRUCT files."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder
