"""Which tissue has which HU, and the order in which a patient's CT is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple
from vmat_rt.phantom.fields import Draws
from vmat_rt.phantom.imaging import Couch, Layer, noise_plane, paint, texture
from vmat_rt.phantom.lattice import Sampler
from vmat_rt.phantom.shapes import f32
from vmat_rt.phantom.traits import NOISE, TISSUE

if TYPE_CHECKING:
    from vmat_rt.phantom.anatomy import Scene


def draw_ct(scene: Scene, sampler: Sampler, shift_mm: Triple) -> FloatArray:
    """Whole HU (z, y, x) on the sampler's grid."""
    couch = Couch(_lowest_back(scene) + 4.0)
    draws = Draws(*scene.key, NOISE)

    def finish(_: int, plane: FloatArray) -> FloatArray:
        couch.paint(plane, sampler.grid, shift_mm)
        shape = (plane.shape[0], plane.shape[1])
        return plane + noise_plane(draws, shape, scene.sizes.noise_hu)

    return paint(sampler, tissues(scene), finish)


def tissues(scene: Scene) -> list[Layer]:
    """From the skin inwards; later ones cover earlier ones."""
    draws = Draws(*scene.key, TISSUE, 1)
    soft, bones, organs, lattice = scene.soft, scene.bones, scene.organs, scene.lattice
    fat = texture(lattice, draws, ((14.0, 14.0), (40.0, 8.0)), -102.0)
    muscle = texture(lattice, draws, ((10.0, 14.0), (24.0, 9.0)), 54.0)
    spongy = texture(lattice, draws, ((9.0, 70.0), (30.0, 50.0)), 190.0)
    return [
        Layer(soft.skin, 20.0),
        Layer(soft.skin + f32(2.2), fat),
        Layer(soft.muscle, muscle),
        Layer(soft.vessels, 44.0),
        Layer(organs.bulb, 48.0),
        Layer(organs.bladder, 36.0),
        Layer(organs.bladder + f32(3.5), 6.0),
        Layer(organs.rectum, 40.0),
        Layer(organs.vesicles, 34.0),
        Layer(organs.prostate, 42.0),
        Layer(bones.discs, 85.0),
        Layer(bones.all, 820.0),
        Layer(bones.all + bones.cortex_mm, spongy),
    ]


def _lowest_back(scene: Scene) -> float:
    """y of the patient's backmost skin, mm in his own frame."""
    rows = np.flatnonzero((scene.soft.skin < 0).any(axis=(0, 2)))
    return float(scene.lattice.start_mm[1] + 2.5 * int(rows[-1]))
