"""What programs of others say of the files that we write: the dose in Gy with its voxel positions, or a verdict."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread

from tests.external import program

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SeenDose:
    """Dose (z, y, x), increasing in LPS, with the centres of its first and last voxel (z, y, x) mm."""

    dose_gy: Array
    first_mm: Array
    last_mm: Array


def dciodvfy_errors(path: Path) -> list[str]:
    """The errors that dciodvfy (dicom3tools) finds. It must have recognised the object to say anything."""
    done = subprocess.run(
        [program("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    report = done.stdout + done.stderr
    assert any(iod in report for iod in ("RTDose", "RTPlan", "RTStructureSet", "CTImage")), report
    return [line for line in report.splitlines() if line.startswith("Error")]


def seen_by_simpleitk(path: Path) -> SeenDose:
    """SimpleITK (GDCM). It never applies DoseGridScaling."""
    image = sitk.ReadImage(str(path))
    return _seen(image, float(dcmread(path, stop_before_pixels=True).DoseGridScaling))


def seen_by_plastimatch(path: Path, folder: Path) -> SeenDose:
    """plastimatch, converted to MetaImage in Gy."""
    out = folder / "plastimatch.mha"
    command = [program("plastimatch"), "convert", "--input-dose-img", str(path), "--output-dose-img", str(out)]
    subprocess.run([*command, "--output-type", "float"], check=True, capture_output=True)
    return _seen(sitk.ReadImage(str(out)), 1.0)


def _seen(image: sitk.Image, scale: float) -> SeenDose:
    """Turn an image of any axial direction to increasing LPS."""
    dose = sitk.GetArrayFromImage(image).astype(np.float64) * scale
    corner = np.array(image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()]))[::-1]
    first = np.array(image.GetOrigin())[::-1]
    flipped = tuple(int(axis) for axis in np.flatnonzero(corner < first))
    return SeenDose(np.flip(dose, flipped), np.minimum(first, corner), np.maximum(first, corner))


def masks_by_plastimatch(study: Path, folder: Path) -> dict[str, NDArray[np.bool_]]:
    """ROI name -> voxels (z, y, x) on the grid of the CT in `study`, holes by XOR as planning systems fill them."""
    ct = folder / "ct.mha"
    sitk.WriteImage(sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(study / "CT"))), str(ct))
    command = [program("plastimatch"), "convert", "--input", str(study / "RTSTRUCT.dcm"), "--fixed", str(ct)]
    prefix = ["--output-prefix", str(folder / "masks"), "--prefix-format", "mha", "--xor-contours"]
    subprocess.run([*command, *prefix], check=True, capture_output=True)
    files = sorted((folder / "masks").glob("*.mha"))
    return {file.stem: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) > 0 for file in files}
