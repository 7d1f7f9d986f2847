"""What the beams see of the targets, as maps summed over gantry angles: for the geometric predictor and for networks.

Where the rays run and in which frame: vmat_rt.geometry.rays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray, Volume
from vmat_rt.geometry.rays import Beams, gather, measure_target_chords, place_beams, soften
from vmat_rt.grid import Triple

FULL_CHORD_MM = 5.0
"""A ray that meets this much target counts as fully inside its view."""

MOST_ANGLES = 36


def thin_angles(angles_deg: Sequence[float], most: int = MOST_ANGLES) -> tuple[float, ...]:
    """Distinct angles within one turn, ascending, at most `most` of them, evenly picked: an arc has hundreds."""
    distinct = sorted({round(float(angle) % 360.0, 1) % 360.0 for angle in angles_deg})
    count = min(len(distinct), most)
    return tuple(distinct[i * len(distinct) // count] for i in range(count))


def compute_relative_density(ct: Volume, outline: NDArray[np.bool_]) -> Volume:
    """Density relative to water, HU / 1000 + 1 kept within 0 and 1.7 (metal saturates), zero outside the outline."""
    density = np.clip(ct.array / np.float32(1000) + np.float32(1), 0, 1.7)
    return Volume(ct.grid, np.where(outline, density, np.float32(0)).astype(np.float32))


def compute_centroid_mm(volume: Volume) -> Triple:
    """Centre of gravity (z, y, x) of area fractions that are not all zero; the isocentre where nothing says better."""
    weights = [volume.array.sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (float(w @ volume.grid.axis_mm(axis) / w.sum()) for axis, w in enumerate(weights))
    return (z, y, x)


def compute_beam_maps(
    density: Volume,
    body: NDArray[np.bool_],
    targets: Mapping[str, FloatArray],
    angles_deg: Sequence[float],
    isocentre_mm: Triple,
) -> dict[str, FloatArray]:
    """Maps (z, y, x) on the density's grid by name, zero outside the body; see `compute_view_maps` for their meaning.

    density: relative to water. targets: area fractions (z, y, x) by name. Raises GeometryError without an angle, a body
    or a target, or when voxels come near the source.
    """
    union = np.max(list(targets.values()), axis=0)
    return compute_view_maps(place_beams(density, body, union > 0, angles_deg, isocentre_mm), targets)


def list_map_names(targets: Iterable[str]) -> tuple[str, ...]:
    """List the names of the maps of these targets, in the order of compute_view_maps."""
    return "beam_any", *(f"beam_{name}" for name in targets), "beam_chord", "in_beam", "open_field"


def compute_view_maps(beams: Beams, targets: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Means over the beams (z, y, x), zero outside the body. A target is in view where a voxel's ray meets it, with an
    edge softened by PENUMBRA_MM across and along the patient.

    in_beam      share of the beams that have the voxel in the view of any target, 0 to 1
    beam_NAME    the same for one target, times exp(-mu depth) and the inverse square (1 in the isocentre plane)
    beam_any     the same for all targets together
    beam_chord   attenuated length of target, cm, that the voxel's ray passes through
    open_field   exp(-mu depth) and inverse square alone, as if every beam were open
    """
    union: FloatArray = np.max(list(targets.values()), axis=0)
    chords = [measure_target_chords(beams.fan, beams.grid, each) for each in (union, *targets.values())]
    seen = [np.minimum(chord / np.float32(FULL_CHORD_MM), np.float32(1)) for chord in chords]
    views = soften(beams.fan, np.stack([*seen, chords[0] / np.float32(10), seen[0]], axis=1))
    names = list_map_names(targets)
    rows = gather(beams, views, attenuated=views.shape[1] - 1)
    return {name: beams.volume(row) for name, row in zip(names, rows, strict=True)}
