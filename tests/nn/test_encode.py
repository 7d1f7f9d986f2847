"""A case as channels: what each channel holds, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.nn.cases import CENTRE_MM, CHANNELS, CT_GRID, GRID, RADIUS_MM, as_voxels, ball, make_case, without
from vmat_rt.case import Prescription, Structure, Volume
from vmat_rt.errors import ConfigError, GeometryError, InputError
from vmat_rt.grid import Grid
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.encode import Channels, Encoded, channels_for, encode, mirror
from vmat_rt.nn.scene import Normalisation
from vmat_rt.protocol import BeamAngles, Protocol, StructureSpec

ABSENT = Normalisation().absent


def channel(encoded: Encoded, name: str) -> np.ndarray:
    return encoded.array[CHANNELS.names.index(name)]


def distance_to_centre_mm(grid: Grid) -> np.ndarray:
    z, y, x = (grid.axis_mm(axis) - CENTRE_MM[axis] for axis in range(3))
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)


def test_distance_of_a_sphere_is_the_closed_form() -> None:
    found = 50 * channel(encode(make_case(), GRID, CHANNELS), "distance:PTV_7000")
    expected = np.clip(distance_to_centre_mm(GRID) - RADIUS_MM, -50, 50)
    assert np.abs(found - expected).max() < 0.75 * max(GRID.spacing_mm)
    assert abs((found - expected).mean()) < 0.5 * max(GRID.spacing_mm)


def test_distances_are_clipped_and_mapped_to_one() -> None:
    grid = Grid((24, 30, 50), (7.0, 5.0, 4.0), (-210.0, -80.0, -90.0), GRID.frame_uid)
    case = replace(make_case(), body=ball("External", CENTRE_MM, 120.0, step_mm=3.0))
    found = channel(encode(case, grid, CHANNELS), "distance:PTV_7000")
    expected = distance_to_centre_mm(grid) - RADIUS_MM
    assert found.max() == 1.0
    assert (found[expected > 55] == 1.0).all()


def test_an_absent_structure_is_neither_near_nor_far() -> None:
    encoded = encode(make_case(), GRID, CHANNELS)
    assert (channel(encoded, "distance:Rectum") == ABSENT).all()
    present = [n for n in CHANNELS.names if n.startswith("distance:") and n != "distance:Rectum"]
    assert all(np.abs(channel(encoded, name)).max() <= 1 for name in present)


@pytest.mark.parametrize("shape", [None, Volume(GRID, np.zeros(GRID.shape, np.float32))])
def test_points_and_empty_masks_are_absent(shape: Volume | None) -> None:
    case = make_case()
    structures = {**case.structures, "Rectum": Structure("Rectum", "Rectum", shape)}
    encoded = encode(replace(case, structures=structures), GRID, CHANNELS)
    assert (channel(encoded, "distance:Rectum") == ABSENT).all()
    assert encoded.condition[-2] == 0  # Rectum is the last distance, PTV_5600 a target without one


def test_condition_vector() -> None:
    assert CHANNELS.structures == ("PTV_7000", "Femur_Head_L", "Femur_Head_R", "Rectum", "PTV_5600")
    both = encode(make_case(), GRID, CHANNELS).condition
    np.testing.assert_allclose(both, [1.0, 0.8, 28 / 30, 1, 1, 1, 0, 1], rtol=1e-6)
    assert both.dtype == np.float32
    assert both.size == CHANNELS.condition_size
    one = encode(without(make_case(), "PTV_5600", "Femur_Head_R"), GRID, CHANNELS).condition
    np.testing.assert_allclose(one, [1.0, 0.0, 28 / 30, 1, 1, 0, 0, 0], rtol=1e-6)


def test_a_contoured_target_without_prescription_has_no_dose_but_a_flag() -> None:
    case = replace(make_case(), prescription=Prescription({"PTV_7000": 70.0}, 28, "test"))
    encoded = encode(case, GRID, CHANNELS)
    np.testing.assert_allclose(encoded.condition, [1.0, 0.0, 28 / 30, 1, 1, 1, 0, 1], rtol=1e-6)
    assert set(np.unique(channel(encoded, "prescription")[distance_to_centre_mm(GRID) > RADIUS_MM + 5])) == {0.0}


def test_prescription_map_takes_the_higher_dose_where_targets_overlap() -> None:
    level = channel(encode(make_case(), GRID, CHANNELS), "prescription")
    radius = distance_to_centre_mm(GRID)
    margin = 5.0
    assert np.allclose(level[radius < RADIUS_MM - margin], 1.0)
    shell = np.abs(radius - RADIUS_MM - 3.5) < 0.4
    assert shell.sum() > 20
    assert np.median(level[shell]) == pytest.approx(0.8, abs=0.02)
    assert (level[radius > RADIUS_MM + 7 + margin] == 0).all()


def test_the_highest_level_is_that_of_the_targets_present() -> None:
    encoded = encode(without(make_case(), "PTV_7000"), GRID, CHANNELS)
    assert encoded.highest_gy == 56.0
    assert channel(encoded, "prescription").max() == pytest.approx(1.0)
    assert encode(make_case(), GRID, CHANNELS).highest_gy == 70.0


def test_ct_is_windowed_scaled_and_air_outside() -> None:
    hu = np.full(CT_GRID.shape, 500.0, np.float32)
    hu[:, :, CT_GRID.shape[2] // 2 :] = 3000.0
    wide = Grid((20, 20, 80), (4.0, 3.0, 2.5), (-170.0, -45.0, -80.0), GRID.frame_uid)
    case = replace(make_case(), ct=Volume(CT_GRID, hu))
    normalisation = Normalisation(hu_window=(-1000.0, 1500.0))
    found = encode(case, wide, CHANNELS.model_copy(update={"normalisation": normalisation})).array[0]
    x = wide.axis_mm(2)
    assert (found[:, :, x < CT_GRID.origin_mm[2] - 2] == -1).all()
    assert np.allclose(found[:, :, (x > -25) & (x < 15)], 0.2, rtol=2**-11)
    assert np.allclose(found[:, :, (x > 32) & (x < 70)], 1.0)


def test_contours_and_their_voxels_encode_equally() -> None:
    drawn = encode(make_case(), GRID, CHANNELS)
    stored = encode(as_voxels(make_case(), GRID), GRID, CHANNELS)
    np.testing.assert_array_equal(drawn.array, stored.array)
    np.testing.assert_array_equal(drawn.condition, stored.condition)
    # Voxels of another, finer grid are resampled: within a voxel's diagonal of the model's grid, closer in the mean.
    fine = encode(as_voxels(make_case(), CT_GRID), GRID, CHANNELS)
    near = [i for i, name in enumerate(CHANNELS.names) if name.startswith("distance:")]
    assert 50 * np.abs(drawn.array[near] - fine.array[near]).max() < np.linalg.norm(GRID.spacing_mm)
    assert 50 * np.abs(drawn.array[near] - fine.array[near]).mean() < 0.2


def test_encoding_is_float32_contiguous_and_leaves_the_case_alone() -> None:
    case = as_voxels(make_case(), GRID)
    before = {n: s.shape.array.copy() for n, s in case.structures.items() if isinstance(s.shape, Volume)}
    encoded = encode(case, GRID, CHANNELS)
    assert encoded.array.dtype == np.float32
    assert encoded.array.flags.c_contiguous
    assert encoded.array.shape == (len(CHANNELS.names), *GRID.shape)
    encoded.array[...] = -9
    for name, array in before.items():
        shape = case.structures[name].shape
        assert isinstance(shape, Volume)
        np.testing.assert_array_equal(shape.array, array)


def test_a_prior_is_relative_and_asked_for() -> None:
    channels = Channels(names=("body", "prior"), targets=CHANNELS.targets)
    prior_gy = np.random.default_rng(1).uniform(0, 70, GRID.shape).astype(np.float32)
    encoded = encode(make_case(), GRID, channels, prior_gy)
    np.testing.assert_allclose(encoded.array[1], prior_gy / 70, rtol=2**-11, atol=2**-25)
    with pytest.raises(ConfigError, match="prior"):
        encode(make_case(), GRID, channels)
    with pytest.raises(ConfigError, match="shape"):
        encode(make_case(), GRID, channels, prior_gy[:-1])


def test_beam_maps_come_from_the_plan_s_angles() -> None:
    names = ("beam:in_beam", "beam:beam_PTV_7000", "beam:beam_chord", "beam:beam_PTV_5600")
    channels = Channels(names=names, targets=CHANNELS.targets)
    case = replace(without(make_case(), "PTV_5600"), gantry_angles_deg=(0.0,))
    array = encode(case, GRID, channels).array
    in_beam = array[0] > 0.5
    # A vertical beam: the column over the target sees it, voxels well to its left or right do not.
    x = np.abs(GRID.axis_mm(2) - CENTRE_MM[2])
    z = np.abs(GRID.axis_mm(0) - CENTRE_MM[0])
    y = (GRID.axis_mm(1) > -45) & (GRID.axis_mm(1) < 18)
    assert in_beam[np.ix_(z < 12, y, x < 12)].all()
    assert not in_beam[np.ix_(z < 12, y, x > 30)].any()
    assert array[1].max() > 0.3
    assert 0.2 < array[2].max() < 0.6  # a chord of up to 42 mm, attenuated, over 10 cm
    assert not array[3].any()
    without_plan = replace(case, gantry_angles_deg=())
    with pytest.raises(ConfigError, match="gantry angles"):
        encode(without_plan, GRID, channels)
    arc = encode(without_plan, GRID, channels.model_copy(update={"angles_deg": (0.0,)}))
    np.testing.assert_array_equal(arc.array, array)
    with pytest.raises(ConfigError, match="in_beam"):
        encode(case, GRID, Channels(names=("beam:backscatter",), targets=CHANNELS.targets))


@pytest.mark.parametrize("name", ["ctt", "distance", "distance:", "ct:1", "", ":x", "body:External"])
def test_an_unknown_channel_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="distance:<Structure>"):
        Channels(names=("ct", name), targets=("PTV_7000",))


def test_repeated_names_and_bad_constants_are_refused() -> None:
    with pytest.raises(ConfigError, match="each once"):
        Channels(names=("ct", "ct"), targets=("PTV_7000",))
    with pytest.raises(ConfigError, match="targets"):
        Channels(names=("ct",), targets=())
    with pytest.raises(ValueError, match="outside"):
        Normalisation(absent=1.0)
    with pytest.raises(ValueError, match="ascend"):
        Normalisation(hu_window=(10.0, 10.0))


def test_no_target_no_body_and_a_foreign_frame_are_refused() -> None:
    with pytest.raises(InputError, match="NO_TARGET"):
        encode(without(make_case(), "PTV_7000", "PTV_5600"), GRID, CHANNELS)
    beside = replace(make_case(), body=ball("External", (500.0, 0.0, 0.0), 20.0))
    with pytest.raises(InputError, match="NO_BODY"):
        encode(beside, GRID, CHANNELS)
    with pytest.raises(GeometryError):
        encode(make_case(), replace(GRID, frame_uid="9.9"), CHANNELS)


def test_the_mirror_swaps_sides_in_channels_and_condition() -> None:
    swap = mirror(CHANNELS)
    assert [CHANNELS.names[i] for i in swap.channels] == [
        *CHANNELS.names[:4],
        "distance:Femur_Head_R",
        "distance:Femur_Head_L",
        "distance:Rectum",
    ]
    assert swap.condition == (0, 1, 2, 3, 5, 4, 6, 7)
    assert mirrored_name("Femur_Head_L_PRV05") == "Femur_Head_R_PRV05"
    assert mirrored_name("Larynx") == "Larynx"
    assert mirrored_name("LN_Pelvics") == "LN_Pelvics"
    with pytest.raises(ConfigError, match="Parotid_L"):
        mirror(Channels(names=("ct", "distance:Parotid_L"), targets=("PTV_7000",)))


def test_encoding_the_mirrored_patient_is_mirroring_the_encoded_one() -> None:
    case = as_voxels(make_case(), GRID)
    flipped = {
        mirrored_name(n): replace(s, shape=Volume(GRID, np.ascontiguousarray(s.shape.array[..., ::-1])))
        for n, s in case.structures.items()
        if isinstance(s.shape, Volume)
    }
    assert isinstance(case.body.shape, Volume)
    body = replace(case.body, shape=Volume(GRID, np.ascontiguousarray(case.body.shape.array[..., ::-1])))
    channels = CHANNELS.model_copy(update={"names": CHANNELS.names[1:]})  # the CT lies on a grid of its own
    swap = mirror(channels)
    straight = encode(without(case, "Femur_Head_R"), GRID, channels)
    other = encode(without(replace(case, structures=flipped, body=body), "Femur_Head_L"), GRID, channels)
    np.testing.assert_allclose(straight.array[list(swap.channels)][..., ::-1], other.array, atol=1e-6)
    np.testing.assert_array_equal(straight.condition[list(swap.condition)], other.condition)


def test_standard_channels_follow_the_protocol() -> None:
    protocol = Protocol(
        schema_version=1,
        name="p",
        title="",
        site="",
        fractions=20,
        beam_angles=BeamAngles(step_deg=10, count=36),
        structures=(
            StructureSpec(name="Rectum", role="oar"),
            StructureSpec(name="PTV_6000", role="target"),
            StructureSpec(name="External", role="body"),
        ),
    )
    channels = channels_for(protocol)
    assert channels.names == ("ct", "body", "prescription", "distance:PTV_6000", "distance:Rectum")
    assert channels.targets == ("PTV_6000",)
    assert channels.angles_deg[1] == 10.0
    assert "prior" not in channels.names
    assert channels_for(protocol, ("prior",)).names == (*channels.names, "prior")


def test_encoding_needs_no_torch() -> None:
    code = "import sys, vmat_rt.nn.encode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_beam_aims_at_a_target_that_this_case_does_not_even_prescribe() -> None:
    """OpenKBP prescribes what is contoured; a network knows more targets than one patient has."""
    names = ("body", "beam:beam_PTV_7000", "beam:beam_PTV_5600")
    channels = Channels(names=names, targets=CHANNELS.targets, angles_deg=(0.0, 90.0))
    case = without(make_case(), "PTV_5600")
    case = replace(case, prescription=replace(case.prescription, dose_gy={"PTV_7000": 70.0}))
    encoded = encode(case, GRID, channels)
    assert encoded.array[1].max() > 0.1
    assert not encoded.array[2].any()
    with pytest.raises(ConfigError, match="beam_PTV_1"):
        encode(case, GRID, channels.model_copy(update={"names": ("body", "beam:beam_PTV_1")}))


@pytest.mark.parametrize("name", ["band:9/9", "band:3", "band:-1/9", "band:0/37", "band:0/0", "band:²/9", "band:a/b"])
def test_a_sector_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"sector"):
        Channels(names=("body", name), targets=("PTV_7000",))


def test_bands_are_those_of_the_plan_s_fields() -> None:
    """From the front and from the left: each band's strip passes through the target, the other's does not follow."""
    channels = Channels(names=("band:0/4", "band:1/4", "band:2/4"), targets=CHANNELS.targets)
    front, left, behind = encode(replace(make_case(), gantry_angles_deg=(0.0, 90.0)), GRID, channels).array
    y, x = (np.abs(GRID.axis_mm(axis) - CENTRE_MM[axis]) for axis in (1, 2))
    z = int(np.argmin(np.abs(GRID.axis_mm(0) - CENTRE_MM[0])))
    body = encode(make_case(), GRID, CHANNELS).body[z] > 0.99
    column, row = body & (x < 12), body & (y < 12)[:, None]
    assert front[z][column].min() > 0.5
    assert left[z][row].min() > 0.5
    assert front[z][body & (x > 35)].max() < 0.05
    assert left[z][body & (y > 33)[:, None]].max() < 0.4  # 5 mm from the edge, on voxels of 3 mm
    assert not behind.any()
