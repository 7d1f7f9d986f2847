"""Bands: what each field, or each sector of an arc, can give, as maps of its own rather than sums over all fields.

A field's band is the strip that its rays cut through the patient where they meet a target: its edges are where planned
dose bends between fields, and a sum over fields hides whose edges they are. An arc has no few fields; it is divided
into sectors of equal angle, and a sector's band is that of all its directions.

Sector k of n is centred at the gantry angle k 360 / n. Turning a patient by whole sectors moves every band to the next
sector; mirroring one left to right gives k and n - k each other's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray
from vmat_rt.geometry.beams import FULL_CHORD_MM
from vmat_rt.geometry.rays import Beams, gather, measure_target_chords, soften

MOST_SECTORS = 36

_EDGE = 1e-3
"""A direction within this part of a sector of the edge between two belongs half to each: angles are rounded to 0.1."""


def sector_shares(angles_deg: Sequence[float], sectors: int) -> NDArray[np.float32]:
    """(sectors, angles): how much of each direction belongs to each sector; every column sums to one."""
    shares = np.zeros((sectors, len(angles_deg)), np.float32)
    for column, angle in enumerate(angles_deg):
        place = angle * sectors / 360.0
        nearest = int(np.floor(place + 0.5))
        on_edge = abs(place + 0.5 - round(place + 0.5)) < _EDGE
        for sector in (round(place + 0.5) - 1, round(place + 0.5)) if on_edge else (nearest,):
            shares[sector % sectors, column] += 0.5 if on_edge else 1.0
    return shares


def sector_bands(
    beams: Beams, targets: Mapping[str, FloatArray], levels: Mapping[str, float], sectors: int
) -> FloatArray:
    """Bands (sectors, z, y, x), zero outside the body.

    targets: area fractions (z, y, x) by name; levels: the dose prescribed to each relative to the highest. A voxel has
    from each direction the highest level of the targets that its ray meets, with the edge softened by PENUMBRA_MM,
    times exp(-mu depth) and the inverse square (1 in the isocentre plane). A sector adds up its directions and divides
    by their mean number per sector, so that the mean over the sectors is the mean over all directions.
    """
    views = soften(beams.fan, level_views(beams, targets, levels))
    shares = sector_shares(beams.fan.angles_deg, sectors) * np.float32(sectors / len(beams.fan.angles_deg))
    bands = np.zeros((sectors, *beams.grid.shape), np.float32)
    for index, of_sector in enumerate(shares.T):
        row = gather(_one_of(beams, index), views[index : index + 1, None], attenuated=1)[0]
        for sector in np.flatnonzero(of_sector):
            bands[sector][beams.body] += of_sector[sector] * row
    return bands


def level_views(beams: Beams, targets: Mapping[str, FloatArray], levels: Mapping[str, float]) -> NDArray[np.float32]:
    """The highest level of the targets that each ray meets (angles, v, u); less where it meets FULL_CHORD_MM less."""
    views = np.zeros((len(beams.fan.angles_deg), *beams.fan.view_shape), np.float32)
    for name, fraction in targets.items():
        seen = np.minimum(
            measure_target_chords(beams.fan, beams.grid, fraction) / np.float32(FULL_CHORD_MM), np.float32(1)
        )
        np.maximum(views, seen * np.float32(levels[name]), out=views)
    return views


def _one_of(beams: Beams, index: int) -> Beams:
    """One direction alone."""
    fan = replace(beams.fan, angles_deg=beams.fan.angles_deg[index : index + 1])
    return replace(beams, fan=fan, depths=beams.depths[index : index + 1])
