"""Skin, fascia, muscles, vessels and the peritoneal space, as signed distances in the reference man.

Muscles are rods inside the deep fascia. Where two of them meet a seam of fat stays between, as on a CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.phantom.fields import Draws, ramp
from vmat_rt.phantom.lattice import Lattice, true_distance
from vmat_rt.phantom.shapes import FAR, Knot, Points, common, cone, ellipsoid, f32, slab, tube, union, without
from vmat_rt.phantom.traits import TISSUE, Sizes

MUSCLES: tuple[tuple[Knot, ...], ...] = (
    # gluteus maximus, medius, minimus
    ((70, 84, 48, 20), (35, 92, 72, 26), (-5, 82, 98, 27), (-50, 62, 118, 22)),
    ((120, 5, 134, 13), (70, 14, 128, 20), (25, 22, 140, 17), (0, 22, 148, 9)),
    ((80, -8, 118, 9), (30, -8, 122, 12), (5, 0, 138, 8)),
    # tensor fasciae latae, sartorius, rectus femoris
    ((55, -42, 132, 10), (0, -40, 142, 12), (-70, -30, 150, 10)),
    ((60, -58, 118, 8), (0, -68, 108, 9), (-60, -72, 92, 9), (-200, -60, 62, 10)),
    ((8, -48, 106, 9), (-40, -56, 112, 15), (-200, -58, 104, 20)),
    # psoas, iliacus
    ((220, 12, 50, 22), (150, 4, 54, 21), (100, -8, 66, 19), (45, -34, 80, 17), (5, -40, 88, 15), (-60, 14, 110, 9)),
    ((120, 8, 98, 12), (70, -14, 92, 15), (30, -32, 94, 12)),
    # pectineus, adductors, hamstrings, vasti
    ((-8, -46, 52, 10), (-50, -18, 92, 12)),
    ((-40, -34, 38, 14), (-80, -22, 55, 26), (-200, -5, 62, 34)),
    ((-62, 10, 52, 14), (-100, 16, 60, 22), (-200, 20, 62, 26)),
    ((-72, 36, 68, 14), (-110, 44, 80, 22), (-200, 48, 92, 26)),
    ((-50, -10, 148, 14), (-95, -22, 140, 24), (-200, -22, 132, 30)),
    # obturator externus, quadratus femoris, piriformis
    ((-34, -24, 42, 11), (-36, 6, 74, 11), (-26, 24, 122, 8)),
    ((-46, 36, 74, 11), (-48, 32, 118, 11)),
    ((58, 68, 34, 9), (38, 56, 74, 13), (14, 30, 132, 8)),
    # erector spinae
    ((220, 66, 26, 24), (150, 68, 26, 24), (110, 82, 26, 15), (70, 98, 18, 8)),
    # crura and urogenital diaphragm
    ((-52, -24, 17, 6), (-66, 8, 38, 6)),
    ((-50, -14, 0, 8), (-52, 14, 0, 9), (-55, 30, 0, 8)),
)

VESSELS: tuple[tuple[Knot, ...], ...] = (
    # external iliac artery and vein down to the groin
    ((220, -14, 22, 8), (140, -6, 30, 8), (112, 4, 40, 8)),
    ((112, 2, 40, 6), (80, -16, 54, 5.5), (48, -42, 66, 5), (20, -60, 76, 5), (-30, -66, 80, 5), (-200, -30, 80, 4)),
    ((112, 8, 36, 6), (80, -4, 53, 6), (48, -30, 62, 6), (20, -54, 67, 6), (-30, -58, 74, 5)),
    # internal iliac
    ((112, 8, 38, 5), (85, 34, 46, 5), (60, 44, 46, 4), (42, 42, 48, 3)),
)
OBTURATOR: tuple[Knot, ...] = ((66, 24, 48, 2.5), (40, 4, 51, 2.5), (14, -20, 46, 2.5))


@dataclass(frozen=True)
class SoftTissue:
    """Fields over the lattice, mm; negative inside."""

    skin: FloatArray
    fascia: FloatArray
    muscle: FloatArray
    vessels: FloatArray


def build_soft(lattice: Lattice, sizes: Sizes, key: tuple[int, int]) -> SoftTissue:
    draws = Draws(*key, TISSUE)
    skin = body(lattice, sizes) + lattice.noise(draws, 110.0) * f32(3)
    everywhere = (slice(0, lattice.shape[0]), slice(0, lattice.shape[1]), slice(0, lattice.shape[2]))
    skin = true_distance(skin, everywhere)
    fascia = skin + fat_depth(lattice, sizes) + lattice.noise(draws, 80.0) * f32(3.5)
    streaks = lattice.noise(draws, 16.0)
    muscle = lattice.built(everywhere, lambda p: muscles(p.mirrored(), fascia, streaks))
    vessels = lattice.built(everywhere, lambda p: _lines(p.mirrored(), VESSELS))
    return SoftTissue(skin, fascia, muscle, vessels)


def body(lattice: Lattice, sizes: Sizes) -> FloatArray:
    """Trunk, thighs and genitals. Widths are the patient's own; heights go with the skeleton."""
    p = lattice.points
    z = p.z
    waist = f32(1) - f32(0.07) * ramp(z, 20.0, 130.0)
    half_x = f32(sizes.half_width / sizes.skeleton) * waist
    depth = sizes.half_depth / sizes.skeleton
    half_y = f32(depth) * (f32(1) - f32(0.04) * ramp(z, 40.0, 120.0))
    middle = f32(118.0 + 0.25 * sizes.fat_back - depth) - f32(10) * ramp(z, 60.0, 150.0)
    trunk = _rounded(p.x / half_x, (p.y - middle) / half_y) * f32(0.5 * (sizes.half_width + sizes.half_depth))
    trunk = common(trunk, f32(-72) - z, 30)
    thigh_x = f32(0.52 * sizes.half_width / sizes.skeleton) - f32(8) * ramp(z, -100.0, -200.0)
    thin = f32(1) - f32(0.1) * ramp(z, -80.0, -220.0)
    across = (np.abs(p.x) - thigh_x) / (f32(0.50 * sizes.half_width / sizes.skeleton) * thin)
    along = (p.y - middle * f32(0.5) + f32(6)) / (f32(0.80 * depth) * thin)
    thighs = (np.sqrt(across * across + along * along) - f32(1)) * f32(0.6 * sizes.half_depth)
    thighs = common(thighs, z + f32(30), 30)
    front = float(118.0 + 0.25 * sizes.fat_back - 2 * depth)
    genitals = union(
        ellipsoid(p, (-98, 0.55 * front - 6, 0), (30, 34, 26)),
        cone(p, (-62, 0.6 * front, 0, 16), (-96, front, 3, 15)),
        8,
    )
    return union(union(trunk, thighs, 36), genitals, 14)


def _rounded(x: FloatArray, y: FloatArray) -> FloatArray:
    """An oval between ellipse and box, less 1: the section of a trunk."""
    a, b = x * x, y * y
    ellipse = np.sqrt(a + b)
    box = np.sqrt(np.sqrt(a * a + b * b))
    return ellipse * f32(0.45) + box * f32(0.55) - f32(1)


def fat_depth(lattice: Lattice, sizes: Sizes) -> FloatArray:
    """Thickness of the fat under the skin, mm: thick in front, behind and at the hips."""
    y = lattice.points.y
    depth = f32(sizes.fat_side) + f32(sizes.fat_front - sizes.fat_side) * ramp(y, -35.0, -80.0)
    depth = depth + f32(sizes.fat_back - sizes.fat_side) * ramp(y, 40.0, 90.0)
    return depth * (f32(1) - f32(0.35) * ramp(lattice.points.z, -50.0, -120.0))


def muscles(p: Points, fascia: FloatArray, streaks: FloatArray) -> FloatArray:
    """All muscles of one side (p mirrored), parted by seams of fat, streaked within."""
    first = np.full(p.z.shape, FAR, np.float32)
    second = first.copy()
    sheets = [tube(p, knots, 6) for knots in MUSCLES]
    sheets += [obturator_internus(p), levator(p), *abdominal_wall(p, fascia)]
    for sheet in sheets:
        np.minimum(second, np.maximum(first, sheet), out=second)
        np.minimum(first, sheet, out=first)
    seam = f32(1.3) - (second - first) * f32(0.5)
    strand = np.abs(streaks) * f32(9) - f32(0.4)
    grown = np.maximum(np.maximum(first - f32(1.5), fascia), seam)
    return np.maximum(grown, -strand * f32(3) - f32(0.4))


def obturator_internus(p: Points) -> FloatArray:
    """A plate on the inner wall of the pelvis."""
    return union(ellipsoid(p, (-4, 8, 55), (36, 36, 8)), tube(p, ((0, 34, 58, 7), (-10, 46, 66, 6)), 4), 6)


def levator(p: Points) -> FloatArray:
    """The sling below the prostate and round the anal canal."""
    plate = np.abs(p.x - f32(15) - (p.z + f32(46)) * f32(0.62)) * f32(0.85) - f32(2)
    plate = common(plate, common(slab(p.z, -28.0, 20.0), slab(p.y, 14.0, 44.0)))
    sling = np.abs(ellipsoid(Points(p.z * f32(0.6), p.y, p.x), (-28, 36, 0), (16, 19, 17))) - f32(2.5)
    return union(plate, common(sling, slab(p.z, -46.0, 12.0)), 3)


def abdominal_wall(p: Points, fascia: FloatArray) -> list[FloatArray]:
    """Rectus abdominis and the flank muscles: a layer under the fascia."""
    layer = np.maximum(fascia + f32(0.5), -(fascia + f32(11)))
    rectus = common(layer, common(slab(p.x, 34.0, 30.0), p.y + f32(30)))
    flank = np.maximum(np.maximum(fascia + f32(0.5), -(fascia + f32(17))), f32(92) - p.z - p.y * f32(0.35))
    flank = common(flank, f32(68) - p.x)
    return [common(rectus, f32(-22) - p.z), common(flank, p.y - f32(60))]


def _lines(p: Points, lines: tuple[tuple[Knot, ...], ...]) -> FloatArray:
    result = tube(p, lines[0], 3)
    for line in lines[1:]:
        result = union(result, tube(p, line, 3))
    return result


def nodal_chain(p: Points, top_z: float) -> FloatArray:
    """External, internal and obturator iliac nodes: 7 mm round the vessels, from top_z down to the femoral heads."""
    chain = _lines(p.mirrored(), (*VESSELS[:1], *(line[:4] for line in VESSELS[1:]), OBTURATOR)) - f32(6.5)
    floor = np.where(np.abs(p.x) > f32(58), f32(30), f32(14)) - p.z
    return np.maximum(np.maximum(chain, floor), p.z - f32(top_z))


def peritoneal_space(
    p: Points, soft: tuple[FloatArray, FloatArray], keep_out: list[tuple[FloatArray, float]]
) -> FloatArray:
    """Bag_Bowel: the abdominal cavity above the bladder, inside the wall (soft is fascia, muscle), without keep_out."""
    fascia, muscle = soft
    bag = ellipsoid(p, (145, -28, 0), (115, 82, 112))
    bag = common(bag, fascia + f32(14), 10)
    bag = without(bag, muscle, 1.5, 4)
    for field, gap in keep_out:
        bag = without(bag, field, gap, 4)
    return bag
