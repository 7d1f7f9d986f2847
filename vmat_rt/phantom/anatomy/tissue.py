"""Which tissue has which HU, and the order in which a patient's CT is painted."""

from __future__ import annotations

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple
from vmat_rt.phantom.anatomy.bowel import build_bowel_loops
from vmat_rt.phantom.anatomy.fields import Draws
from vmat_rt.phantom.anatomy.imaging import Couch, Layer, draw_noise_plane, draw_texture, paint
from vmat_rt.phantom.anatomy.lattice import STEP_MM, Sampler
from vmat_rt.phantom.anatomy.prosthesis import Prosthesis
from vmat_rt.phantom.anatomy.scene import Anatomy
from vmat_rt.phantom.anatomy.shapes import common, f32
from vmat_rt.phantom.anatomy.traits import NOISE, TEXTURE

GAS_HU = -960.0
WALL_MM = 3.2


def draw_ct(scene: Anatomy, sampler: Sampler, shift_mm: Triple) -> FloatArray:
    """Whole HU (z, y, x) on the sampler's grid."""
    couch = Couch(_find_lowest_back(scene) + 5.0)
    draws = Draws(*scene.key, NOISE)
    metal = Prosthesis.of(scene)

    def finish(k: int, plane: FloatArray) -> FloatArray:
        couch.paint(plane, sampler.grid, shift_mm)
        if metal is not None:
            plane = metal.streak(plane, sampler, k, shift_mm)
        shape = (plane.shape[0], plane.shape[1])
        return plane + draw_noise_plane(draws, shape, scene.sizes.noise_hu)

    layers = list_tissues(scene)
    if metal is not None:
        layers += metal.layers(scene)
    return paint(sampler, layers, finish)


def list_tissues(scene: Anatomy) -> list[Layer]:
    """From the skin inwards; later ones cover earlier ones."""
    draws = Draws(*scene.key, TEXTURE)
    soft, bones, organs, lattice = scene.soft, scene.bones, scene.organs, scene.lattice
    fat = draw_texture(lattice, draws, ((12.0, 13.0), (40.0, 9.0)), -104.0)
    muscle = draw_texture(lattice, draws, ((9.0, 13.0), (24.0, 9.0)), 54.0)
    spongy = draw_texture(lattice, draws, ((9.0, 60.0), (30.0, 45.0)), 175.0)
    # Heads and necks of the femora are denser inside than the pelvis, shafts hold fatty marrow.
    spongy += f32(90) * (bones.femur < 0) * (lattice.points.z > -30)
    spongy -= f32(190) * (bones.femur < 0) * (lattice.points.z < -75)
    stool = draw_texture(lattice, draws, ((8.0, 26.0), (22.0, 16.0)), 24.0)
    layers = [
        Layer(soft.skin, 15.0),
        Layer(soft.skin + f32(2.0), fat),
        Layer(soft.corpora, 42.0),
        Layer(soft.muscle, muscle),
        Layer(soft.vessels, 44.0),
        *build_bowel_loops(scene),
        Layer(organs.bulb, 48.0),
        Layer(organs.bladder, 36.0),
        Layer(organs.bladder + f32(3.5), 6.0),
        Layer(organs.rectum, 42.0),
        *_build_rectal_contents(scene, stool, draws),
        Layer(organs.vesicles, 32.0),
        Layer(organs.prostate, draw_texture(lattice, draws, ((18.0, 10.0),), 41.0)),
    ]
    if organs.spacer is not None:
        layers.append(Layer(organs.spacer, 14.0))
    return [
        *layers,
        Layer(bones.discs, 85.0),
        Layer(bones.all, draw_texture(lattice, draws, ((20.0, 140.0),), 800.0)),
        Layer(bones.all + bones.cortex_mm, spongy),
    ]


def _build_rectal_contents(scene: Anatomy, stool: FloatArray, draws: Draws) -> list[Layer]:
    """Stool inside the wall above the anal canal; gas, where there is some, floats in front of it."""
    organs, p = scene.organs, scene.lattice.points
    lumen = common(organs.rectum + f32(WALL_MM), f32(-44) - p.z, 6)
    gas = scene.sizes.rectal_gas
    if gas <= 0:
        return [Layer(lumen, stool)]
    bubbles = scene.lattice.noise(draws, 60.0) * f32(16) + (p.y - f32(46)) * f32(0.5) + f32(7 - 15 * gas)
    return [Layer(lumen, stool), Layer(np.maximum(lumen, bubbles), GAS_HU)]


def _find_lowest_back(scene: Anatomy) -> float:
    """Where the patient's backmost skin lies along y, mm in his own frame."""
    rows = np.flatnonzero((scene.soft.skin < 0).any(axis=(0, 2)))
    return float(scene.lattice.start_mm[1] + STEP_MM * int(rows[-1]))
