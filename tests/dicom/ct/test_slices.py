"""Enhanced multi-frame CT gives the volume that the same slices give as classic images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.dicom.studies import refusal
from tests.dicom_phantom import ORIENTATIONS, edited, write_study
from tests.dicom_phantom.enhanced import make_enhanced
from vmat_rt.dicom.study import read_study


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("shared", [True, False], ids=["shared groups", "groups of each frame"])
def test_an_enhanced_ct_is_the_volume_of_its_frames(tmp_path: Path, syntax: str, shared: bool) -> None:
    phantom = write_study(tmp_path, signed=False)
    make_enhanced(phantom, syntax, shared)
    ct = read_study(tmp_path).ct
    assert ct is not None
    assert ct.volume.grid.same_as(phantom.grid)
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)
    assert ct.patient_position == "HFS"
    assert len(ct.sop_uids) == phantom.grid.shape[0]
    assert "PixelData" not in ct.header
    assert "PerFrameFunctionalGroupsSequence" not in ct.header


@pytest.mark.parametrize("position", ORIENTATIONS)
def test_in_every_position(tmp_path: Path, position: str) -> None:
    phantom = write_study(tmp_path, position=position, signed=False)
    make_enhanced(phantom)
    ct = read_study(tmp_path).ct
    assert ct is not None
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)


def test_a_rescale_that_changes_from_frame_to_frame(tmp_path: Path) -> None:
    phantom = write_study(tmp_path, signed=False, slopes=(1.0, 0.5, 0.25))
    make_enhanced(phantom, shared=False)
    ct = read_study(tmp_path).ct
    assert ct is not None
    np.testing.assert_array_equal(ct.volume.array, phantom.hu)


def _no_frame_groups(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence


def _one_frame_short(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[-1]


def _no_position(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence


def _no_rescale(ds: Dataset) -> None:
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence


def _electron_density(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleType = "ED"


def _oblique(ds: Dataset) -> None:
    item = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    item.ImageOrientationPatient = [0.98480775, 0.17364818, 0, -0.17364818, 0.98480775, 0]


def _fewer_pixels(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[:-4160]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_no_frame_groups, "CT_ENHANCED"),
        (_one_frame_short, "CT_ENHANCED"),
        (_no_position, "ATTRIBUTE_MISSING"),
        (_no_rescale, "CT_RESCALE"),
        (_electron_density, "CT_RESCALE_TYPE"),
        (_oblique, "CT_OBLIQUE"),
        (_fewer_pixels, "PIXELS_UNREADABLE"),
    ],
)
def test_what_an_enhanced_ct_lacks_is_said(tmp_path: Path, change: Callable[[Dataset], None], code: str) -> None:
    phantom = write_study(tmp_path, signed=False)
    with edited(make_enhanced(phantom)) as ds:
        change(ds)
    assert code in refusal(tmp_path)
