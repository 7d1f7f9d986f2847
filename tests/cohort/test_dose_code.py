"""A packed dose comes back to the last step, from any array, and damaged bytes are never taken for a dose."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.external import shared_folder
from vmat_rt.case import Volume
from vmat_rt.cohort.dose_code import MOST_STEPS, pack_dose, round_to_steps, unpack_dose
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.grid import Grid

FRAME = "1.2.3"
SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)
ANY_DOSE = arrays.arrays(np.float32, SHAPES, elements=st.floats(-200, 200, width=32))
SOME_VOXELS = arrays.arrays(
    np.float32, SHAPES, elements=st.floats(0, 80, width=32) | st.just(0.0), fill=st.just(np.float32(0))
)


def on_grid(array: np.ndarray) -> Volume:
    return Volume(Grid(array.shape, (4.1, 2.7, 3.3), (-311.25, 17.0, 0.1), FRAME), array)


def arc_dose() -> Volume:
    """Smooth, about 60 000 voxels in an elliptic body, nothing outside."""
    z, y, x = (np.linspace(-1, 1, n) for n in (31, 47, 61))
    body = (y[:, None] / 0.9) ** 2 + (x / 0.95) ** 2 <= 1
    radius = np.sqrt((z / 0.4)[:, None, None] ** 2 + (y / 0.3)[:, None] ** 2 + (x / 0.35) ** 2)
    return on_grid((72 / (1 + radius**4) * body).astype(np.float32))


@given(ANY_DOSE | SOME_VOXELS, st.sampled_from([0.01, 0.1, 1.0, 0.0375]))
@settings(max_examples=120, deadline=None)
def test_any_array_comes_back_to_the_last_step(array: np.ndarray, step_gy: float) -> None:
    volume = on_grid(array)
    back = unpack_dose(pack_dose(volume, step_gy), FRAME)
    assert np.array_equal(round_to_steps(back, step_gy), round_to_steps(volume, step_gy))
    assert back.array.dtype == np.float32
    assert back.array.flags.c_contiguous
    assert np.abs(back.array.astype(float) - array).max() <= step_gy / 2 + 1e-5
    assert back.grid == volume.grid


def test_values_are_the_nearest_floats_to_whole_steps() -> None:
    volume = on_grid(np.array([0.004, 0.006, 70.004999, 70.0051, 1.23, -0.01], np.float32).reshape(1, 2, 3))
    expected = np.array([0, 0.01, 70.0, 70.01, 1.23, -0.01], np.float32)
    assert np.array_equal(unpack_dose(pack_dose(volume), FRAME).array.ravel(), expected)


def test_packing_what_was_unpacked_gives_the_same_bytes() -> None:
    packed = pack_dose(arc_dose())
    assert pack_dose(unpack_dose(packed, "another frame")) == packed


def test_the_frame_is_the_callers_and_never_in_the_bytes() -> None:
    volume = Volume(Grid((1, 1, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "1.2.840.99"), np.ones((1, 1, 2), np.float32))
    packed = pack_dose(volume)
    assert b"1.2.840.99" not in packed
    assert unpack_dose(packed, "9.8.7").grid.frame_uid == "9.8.7"


def test_the_most_steps_that_are_taken_come_back() -> None:
    volume = on_grid(np.array([MOST_STEPS, -MOST_STEPS, MOST_STEPS - 1], float).reshape(1, 1, 3).astype(np.float32))
    scaled = Volume(volume.grid, volume.array * np.float32(0.01))
    assert (
        round_to_steps(unpack_dose(pack_dose(scaled), FRAME), 0.01).ravel().tolist()
        == round_to_steps(scaled, 0.01).ravel().tolist()
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_a_dose_that_would_not_come_back_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="cannot be packed"):
        pack_dose(on_grid(np.full((2, 1, 3), value, np.float32)))


@pytest.mark.parametrize("step_gy", [0.0, -0.01, float("nan")])
def test_a_step_that_is_none_is_refused(step_gy: float) -> None:
    with pytest.raises(ConfigError, match="steps of"):
        pack_dose(on_grid(np.ones((1, 2, 3), np.float32)), step_gy)


def test_a_smooth_dose_is_small_and_nothing_outside_the_body_costs_much() -> None:
    dose = arc_dose()
    packed = pack_dose(dose)
    inside = np.count_nonzero(round_to_steps(dose, 0.01))
    assert 8 * len(packed) / inside < 5.5
    wider = on_grid(np.pad(dose.array, 20))
    assert wider.array.size > 5 * dose.array.size
    assert len(pack_dose(wider)) < 1.125 * len(packed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    packed = bytearray(pack_dose(on_grid(np.arange(60, dtype=np.float32).reshape(3, 4, 5))))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputError) as caught:
        unpack_dose(bytes(packed), FRAME)
    assert caught.value.problems[0].code == "DOSE_CODE_DAMAGED"


@pytest.mark.parametrize("length", [0, 5, 40, 44, 100, -1])
def test_a_file_cut_short_is_noticed(length: int) -> None:
    packed = pack_dose(arc_dose())
    with pytest.raises(InputError, match="bytes"):
        unpack_dose(packed[:length], FRAME)


@pytest.mark.parametrize("more", [b"\0", b"\0\0\0\0", None], ids=["one", "four", "itself again"])
def test_bytes_after_the_end_are_noticed(more: bytes | None) -> None:
    packed = pack_dose(on_grid(np.ones((2, 3, 4), np.float32)))
    with pytest.raises(InputError, match="bytes"):
        unpack_dose(packed + (packed if more is None else more), FRAME)


def test_a_file_of_the_first_version_is_told_so() -> None:
    with pytest.raises(InputError, match="of version 1; this program reads version 2") as caught:
        unpack_dose(b"VMATdose" + bytes(100), FRAME)
    assert caught.value.problems[0].code == "DOSE_CODE_DAMAGED"


def test_what_is_packed_is_an_xz_stream_with_a_line_of_header_and_four_planes_of_bytes() -> None:
    """Read back by hand, as docs/decisions/dose-code.md describes it."""
    values = np.array([0.0, 0.02, -0.01, 3.0], np.float32)
    text, _, planes = lzma.decompress(pack_dose(on_grid(values.reshape(1, 2, 2)))).partition(b"\n")
    assert b'"version":2' in text
    assert planes == bytes([0, 4, 1, 90]) + bytes([0, 0, 0, 2]) + bytes(8)  # zig-zag of 0, +2, -1, +301: 0, 4, 1, 602


def header_with(changed: dict[str, str]) -> bytes:
    text, _, planes = (
        lzma.decompress(pack_dose(on_grid(np.ones((2, 3, 4), np.float32)))).decode("latin1").partition("\n")
    )
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    return lzma.compress(f"{text}\n{planes}".encode("latin1"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({'"version":2': '"version":3'}, "version 3"),
        ({'"shape":[2,3,4]': '"shape":[2,3,5]'}, "decoded"),
        ({'"shape":[2,3,4]': '"shape":[0,3,4]'}, "decoded"),
        ({'"spacing_mm":[4.1': '"spacing_mm":[-4.1'}, "decoded"),
        ({'"shape":[2,3,4]': '"shape":[2,3,3]'}, "decoded"),
        ({'"origin_mm":[': '"origin_mm":["a",'}, "header"),
        ({'"step_gy"': '"step"'}, "header"),
        ({'{"version"': '["version"'}, "header"),
    ],
)
def test_a_well_sealed_header_that_contradicts_its_content_is_refused(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        unpack_dose(header_with(changed), FRAME)
    assert caught.value.problems[0].code == "DOSE_CODE_DAMAGED"


@pytest.mark.parametrize(("patient", "share_of_xz"), [("pt_201", 0.8), ("pt_143", 0.95)])
def test_openkbp_doses_come_back_exactly(patient: str, share_of_xz: float) -> None:
    """A clinical dose stored in hundredths of a gray is the same float for float; of pt_143 there are 8115 voxels."""
    dose = openkbp_dose(shared_folder("openkbp"), patient)
    packed = pack_dose(dose)
    assert np.array_equal(round_to_steps(unpack_dose(packed, FRAME), 0.01), round_to_steps(dose, 0.01))
    raw = lzma.compress(round_to_steps(dose, 0.01).astype("<i2").tobytes(), preset=9)
    assert len(packed) < share_of_xz * len(raw)


def openkbp_dose(root: Path, patient: str) -> Volume:
    from vmat_rt.cohort.openkbp import make_openkbp_case, read_csv_patient

    case = make_openkbp_case(read_csv_patient(root / "csv_sample" / patient), "sample")
    assert case.reference_dose is not None
    return case.reference_dose
