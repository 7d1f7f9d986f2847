"""Real exports (IBSI's soft-tissue sarcomas by MIM, a thorax by XiO) against published masks and volumes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.external import shared_file, shared_folder
from vmat_rt.case import Contours
from vmat_rt.dicom.load import load_structures
from vmat_rt.dicom.study import read_study
from vmat_rt.geometry.rasterize import even_odd_mask, volume_cc

POSITIONS = {"002": "HFS", "006": "FFS", "008": "HFS", "019": "HFS", "025": "FFS", "042": "FFS"}


@pytest.mark.parametrize("patient", POSITIONS)
def test_the_mask_equals_the_published_one_voxel_for_voxel(patient: str) -> None:
    folder = shared_folder(f"real_dicom/STS_{patient}")
    study = read_study(folder)
    # The structure sets refer to images by UIDs that none of the published CT slices has.
    assert {problem.code for problem in study.problems} <= {"STRUCTURES_OTHER_SLICES"}
    assert study.ct is not None
    assert study.ct.patient_position == POSITIONS[patient]
    grid = study.ct.volume.grid
    (structure,) = load_structures(study, None)
    assert isinstance(structure.shape, Contours)
    image = sitk.ReadImage(str(folder / "truth" / "CT_mask.nii.gz"))
    truth = sitk.GetArrayFromImage(image).astype(bool)
    # The published masks carry their slices in rising z and rows and columns as stored; the origin ties them to space.
    corner = [float(v) for v in image.TransformIndexToPhysicalPoint((0, 0, 0))]
    np.testing.assert_allclose(grid.index_of(np.array(corner[::-1])), 0, atol=0.01)
    np.testing.assert_array_equal(even_odd_mask(structure.shape, grid), truth)


def test_hounsfield_units_agree_with_simpleitk() -> None:
    folder = shared_folder("real_dicom/STS_006/CT")
    study = read_study(folder.parent)
    assert study.ct is not None
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(study.ct.volume.array, sitk.GetArrayFromImage(image).astype(np.float32))
    np.testing.assert_allclose(study.ct.volume.grid.origin_mm, image.GetOrigin()[::-1], atol=1e-6)
    np.testing.assert_allclose(study.ct.volume.grid.spacing_mm, image.GetSpacing()[::-1], atol=1e-4)


@pytest.fixture(scope="module")
def thorax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = shared_file("real_dicom/thorax_xio.tar.xz")
    folder = tmp_path_factory.mktemp("xio")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    return folder


def test_a_thorax_by_xio_without_frame_at_the_top_loads(thorax: Path) -> None:
    study = read_study(thorax)
    assert study.problems == ()
    assert study.ct is not None
    assert study.ct.volume.grid.shape == (111, 512, 512)
    (structure,) = load_structures(study, None)
    assert structure.roi_name == "GTV-1"
    assert volume_cc(structure) == pytest.approx(358.7, abs=0.1)
