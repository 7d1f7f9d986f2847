"""RTDOSE: closed form from PS3.3, then the readers and validators of others.

Covers vmat_rt.dicom.write.layout.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pymedphys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from tests.dicom import judges, written
from tests.external import program, shared_folder
from tests.ports import free_port
from vmat_rt.case import Volume
from vmat_rt.dicom.study import read_study
from vmat_rt.dicom.write.dose import Bits, as_stored, grid_scaling, write_rtdose
from vmat_rt.dicom.write.header import NOT_FOR_TREATMENT, header_from
from vmat_rt.dicom.write.isodose import write_isodoses
from vmat_rt.dicom.write.layout import layout_for
from vmat_rt.dicom.write.plan import write_companion_plan
from vmat_rt.errors import ConfigError, GeometryError, ModelError
from vmat_rt.grid import Grid, centred_grid

POSITIONS = sorted(written.ORIENTATIONS)


def write(path: Path, position: str = "HFS", bits: int = 16, dose: Volume | None = None) -> Dataset:
    """Write the study's dose and read the file."""
    volume = dose or written.dose()
    write_rtdose(path, volume, written.header(position), written.MODEL, written.PLAN_UID, bits)  # type: ignore[arg-type]
    return pydicom.dcmread(path)


def every_element(dataset: Dataset) -> list[pydicom.DataElement]:
    return list(dataset.iterall())


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("position", POSITIONS)
def test_every_voxel_lies_where_the_standard_says(tmp_path: Path, position: str, bits: int) -> None:
    dose = written.dose()
    file = write(tmp_path / "d.dcm", position, bits, dose)
    stored = file.pixel_array
    assert stored.dtype == np.dtype(f"uint{bits}")
    row, column = np.array(file.ImageOrientationPatient, float).reshape(2, 3)
    first = np.array(file.ImagePositionPatient, float)
    offsets = np.array(file.GridFrameOffsetVector, float)
    assert offsets[0] == 0
    assert np.all(np.diff(offsets) > 0)
    assert [*row, *column] == list(written.ORIENTATIONS[position])
    for k, j, i in [(0, 0, 0), (2, 3, 5), (6, 14, 17), (1, 14, 0), (6, 0, 17)]:
        point = first + i * float(file.PixelSpacing[1]) * row + j * float(file.PixelSpacing[0]) * column
        point += offsets[k] * np.cross(row, column)
        index = np.rint(dose.grid.index_of(point[::-1])).astype(int)
        assert dose.grid.index_of(point[::-1]) == pytest.approx(index, abs=1e-6)
        got = stored[k, j, i] * float(file.DoseGridScaling)
        assert abs(got - dose.array[tuple(index)]) <= float(file.DoseGridScaling) * 0.5001


@pytest.mark.parametrize("bits", [16, 32])
def test_reading_returns_every_voxel_within_half_a_step(tmp_path: Path, bits: int) -> None:
    dose = written.dose()
    file = write(tmp_path / "d.dcm", "FFS", bits, dose)
    seen = layout_for(file.ImageOrientationPatient).arranged(file.pixel_array * float(file.DoseGridScaling))
    assert np.abs(seen - dose.array).max() <= float(file.DoseGridScaling) * 0.5001
    assert float(file.DoseGridScaling) < 71.3 / (2**bits / 2.001)


@pytest.mark.parametrize("position", POSITIONS)
def test_simpleitk_and_plastimatch_see_the_same_dose_in_the_same_place(tmp_path: Path, position: str) -> None:
    dose = written.dose()
    file = write(tmp_path / "d.dcm", position, 16, dose)
    step = float(file.DoseGridScaling)
    for seen in (
        judges.seen_by_simpleitk(tmp_path / "d.dcm"),
        judges.seen_by_plastimatch(tmp_path / "d.dcm", tmp_path),
    ):
        assert seen.first_mm == pytest.approx(dose.grid.origin_mm, abs=1e-4)
        assert seen.last_mm == pytest.approx(dose.grid.last_mm, abs=1e-3)
        assert np.abs(seen.dose_gy - dose.array).max() <= 0.51 * step + 1e-5


@pytest.mark.parametrize("position", POSITIONS)
def test_pymedphys_sees_the_same_dose_in_the_same_place(tmp_path: Path, position: str) -> None:
    dose = written.dose()
    file = write(tmp_path / "d.dcm", position, 16, dose)
    axes, seen = pymedphys.dicom.zyx_and_dose_from_dataset(file)
    signs = layout_for(written.ORIENTATIONS[position]).signs
    for axis, (positions, sign) in enumerate(zip(axes, signs, strict=True)):
        # Where an axis runs backwards pymedphys gives the positions with their sign turned, in order of falling index.
        expected = dose.grid.axis_mm(axis)
        assert np.asarray(positions, float) == pytest.approx(expected if sign > 0 else -expected, abs=1e-6)
    assert np.abs(layout_for(written.ORIENTATIONS[position]).arranged(seen) - dose.array).max() < 1e-3


@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_has_no_error(tmp_path: Path, position: str) -> None:
    write(tmp_path / "d.dcm", position)
    assert judges.dciodvfy_errors(tmp_path / "d.dcm") == []


def test_dciodvfy_would_have_found_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "d.dcm")
    del file.DoseType
    file.save_as(tmp_path / "broken.dcm")
    assert judges.dciodvfy_errors(tmp_path / "broken.dcm")


@pytest.mark.parametrize("name", ["STS_002", "STS_006", "STS_042"])
def test_studies_of_real_scanners_get_valid_outputs_in_place(tmp_path: Path, name: str) -> None:
    study = read_study(shared_folder(f"real_dicom/{name}"))
    assert study.ct is not None
    header, ct = header_from(study), study.ct.volume.grid
    dose = written.dose(centred_grid((20, 30, 40), (2.5, 2.4, 2.3), ct.centre_mm, ct.frame_uid))
    write_rtdose(tmp_path / "dose.dcm", dose, header, written.MODEL, written.PLAN_UID)
    write_companion_plan(tmp_path / "plan.dcm", written.case(), header, written.MODEL)
    assert not write_isodoses(tmp_path / "isodoses.dcm", dose, [95, 50], 70.0, header, written.MODEL)
    for path in tmp_path.glob("*.dcm"):
        assert judges.dciodvfy_errors(path) == [], path.name
        assert pydicom.dcmread(path).PatientID == study.ct.header.PatientID
    seen = judges.seen_by_simpleitk(tmp_path / "dose.dcm")
    assert seen.first_mm == pytest.approx(dose.grid.origin_mm, abs=1e-4)
    assert np.abs(seen.dose_gy - dose.array).max() < 1e-3


def test_it_says_what_it_is_and_to_whom_it_belongs(tmp_path: Path) -> None:
    file = write(tmp_path / "d.dcm")
    assert (file.Modality, file.DoseUnits, file.DoseType, file.DoseSummationType) == (
        "RTDOSE",
        "GY",
        "PHYSICAL",
        "PLAN",
    )
    assert file.SeriesDescription == NOT_FOR_TREATMENT
    assert file.ContentQualification == "RESEARCH"
    assert NOT_FOR_TREATMENT in file.DoseComment
    assert file.FrameIncrementPointer == 0x3004000C
    assert file.Manufacturer == "vmat-rt"
    assert "geometric_head_neck 1.2" in file.SoftwareVersions
    assert file.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == written.PLAN_UID
    ct = written.ct_header()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert file[keyword].value == ct[keyword].value
    assert file.FrameOfReferenceUID == written.FRAME
    assert file.PositionReferenceIndicator == "XY"
    assert file.SOPInstanceUID == file.file_meta.MediaStorageSOPInstanceUID


def test_names_in_other_alphabets_survive(tmp_path: Path) -> None:
    ct = written.ct_header()
    ct.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ct.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header = header_from(written.study("HFS", ct))
    write_rtdose(tmp_path / "d.dcm", written.dose(), header, written.MODEL, written.PLAN_UID)
    assert pydicom.dcmread(tmp_path / "d.dcm").PatientName == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_decimal_strings_have_at_most_16_characters(tmp_path: Path) -> None:
    grid = Grid((40, 5, 6), (1 / 3, 10 / 7, 0.1), (-1000.123456789012, 1e-7, 123456.7891234567), written.FRAME)
    file = write(tmp_path / "d.dcm", "HFP", 16, written.dose(grid))
    strings = [str(e.value).split("\\") if e.VM == 1 else map(str, e.value) for e in file if e.VR == "DS"]
    assert max(len(text) for value in strings for text in value) <= 16
    raw = pydicom.dcmread(tmp_path / "d.dcm", defer_size=None)
    assert np.diff(np.array(raw.GridFrameOffsetVector, float)) == pytest.approx(np.full(39, 1 / 3), abs=1e-8)


@settings(max_examples=200, deadline=None)
@given(highest=st.floats(2.0**-20, 2.0**17, width=32), bits=st.sampled_from([16, 32]))
def test_scaling_fits_in_16_characters_and_never_overflows(highest: float, bits: int) -> None:
    text = grid_scaling(highest, bits)  # type: ignore[arg-type]
    limit = 2**16 - 1 if bits == 16 else 2**31 - 1
    assert len(text) <= 16
    assert limit * (1 - 1e-9) <= highest / float(text) <= limit * (1 + 1e-15)


def test_a_dose_of_zero_is_written(tmp_path: Path) -> None:
    zero = Volume(written.DOSE_GRID, np.zeros(written.DOSE_GRID.shape, np.float32))
    file = write(tmp_path / "d.dcm", dose=zero)
    assert file.pixel_array.max() == 0
    assert float(file.DoseGridScaling) > 0


def test_negative_and_unknown_doses_are_refused_with_their_counts(tmp_path: Path) -> None:
    array = written.dose().array.copy()
    array[0, 0, :3] = np.nan
    array[1, 1, 1] = np.inf
    array[2, 2, :2] = -0.01
    with pytest.raises(ModelError, match=r"of 1890 voxels, 4 have no finite dose and 2 a negative one"):
        write(tmp_path / "d.dcm", dose=Volume(written.DOSE_GRID, array))
    assert not (tmp_path / "d.dcm").exists()


def test_another_frame_and_another_depth_are_refused(tmp_path: Path) -> None:
    elsewhere = Volume(replace(written.DOSE_GRID, frame_uid="1.2.3"), written.dose().array)
    with pytest.raises(GeometryError):
        write(tmp_path / "d.dcm", dose=elsewhere)
    with pytest.raises(ConfigError, match="16 or 32"):
        write(tmp_path / "d.dcm", bits=8)


def test_a_rerun_is_the_same_instance_and_anything_else_is_another(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm")
    write(tmp_path / "b.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    hotter = write(tmp_path / "c.dcm", dose=written.dose(highest_gy=71.4))
    deeper = write(tmp_path / "d.dcm", bits=32)
    other_model = replace(written.MODEL, sha256="6f" * 32)
    write_rtdose(tmp_path / "e.dcm", written.dose(), written.header(), other_model, written.PLAN_UID)
    other = pydicom.dcmread(tmp_path / "e.dcm")
    uids = [file.SOPInstanceUID for file in (first, hotter, deeper, other)]
    assert len(set(uids)) == 4
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    assert first.SeriesInstanceUID == hotter.SeriesInstanceUID != other.SeriesInstanceUID


def test_no_time_of_writing_stands_in_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "d.dcm")
    today = time.strftime("%Y%m%d")
    assert all(today not in str(element.value) for element in every_element(file) if element.VR in {"DA", "DT"})


def test_storescu_sends_it(tmp_path: Path) -> None:
    write(tmp_path / "d.dcm")
    port = str(free_port())
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    server = subprocess.Popen([program("storescp"), "--output-directory", str(inbox), port])
    try:
        send = [program("storescu"), "127.0.0.1", port, str(tmp_path / "d.dcm")]
        for _ in range(50):
            if subprocess.run(send, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
    finally:
        server.terminate()
        server.wait()
    (received,) = inbox.iterdir()
    assert pydicom.dcmread(received).PixelData == pydicom.dcmread(tmp_path / "d.dcm").PixelData


@pytest.mark.parametrize(("bits", "most_gy"), [(16, 70 / 65535), (32, 1e-5)])
def test_what_is_stored_is_the_dose_within_half_a_step(bits: Bits, most_gy: float) -> None:
    grid = Grid((2, 3, 4), (2.5, 2.5, 2.5), (0.0, 0.0, 0.0), "1.2.3")
    dose = Volume(grid, np.linspace(0, 70, 24, dtype=np.float32).reshape(grid.shape))
    assert np.abs(as_stored(dose, bits).array - dose.array).max() <= most_gy / 2 + 1e-5
