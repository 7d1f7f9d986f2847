"""Skin, fascia, muscles, vessels and the peritoneal space, as signed distances in the reference man.

Muscles are rods inside the deep fascia. Where two of them meet a seam of fat stays between, as on a CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.phantom.anatomy.fields import Draws, ramp
from vmat_rt.phantom.anatomy.lattice import Lattice, convert_to_distance
from vmat_rt.phantom.anatomy.shapes import FAR, Knot, Points, common, cone, ellipsoid, f32, slab, tube, union, without
from vmat_rt.phantom.anatomy.traits import FASCIA, Sizes

OUTER_MUSCLES: tuple[tuple[Knot, ...], ...] = (
    # gluteus maximus, medius, minimus
    ((92, 84, 46, 10), (60, 94, 52, 16), (25, 98, 62, 22), (-10, 90, 84, 26), (-55, 62, 120, 18)),
    ((20, 92, 30, 6), (-5, 90, 38, 12), (-40, 82, 62, 16)),
    ((135, 2, 138, 10), (80, 18, 126, 16), (30, 28, 138, 15), (0, 22, 154, 8)),
    ((135, 40, 106, 4), (90, 50, 104, 10), (40, 46, 116, 12)),
    ((100, -26, 134, 8), (40, -18, 128, 13), (5, -6, 144, 8)),
    # tensor fasciae latae, sartorius, rectus femoris
    ((62, -46, 134, 7), (10, -44, 144, 9), (-70, -34, 156, 9), (-200, -20, 156, 6)),
    ((70, -60, 120, 5), (0, -72, 112, 6), (-60, -76, 94, 6), (-200, -60, 58, 8)),
    ((14, -50, 108, 6), (-40, -60, 116, 12), (-200, -62, 106, 18)),
    # pectineus, adductors, hamstrings, vasti
    ((-8, -50, 50, 6), (-30, -38, 72, 10), (-56, -14, 96, 8)),
    ((-44, -40, 34, 7), (-80, -30, 54, 20), (-200, -12, 60, 26)),
    ((-66, 8, 52, 8), (-100, 14, 58, 20), (-200, 18, 60, 24)),
    ((-74, 38, 68, 9), (-110, 48, 80, 20), (-200, 50, 92, 26)),
    ((-46, -8, 150, 9), (-95, -24, 142, 22), (-200, -24, 132, 28)),
    ((-70, 16, 146, 7), (-110, 14, 142, 12), (-200, 14, 136, 16)),
    # obturator externus, quadratus femoris
    ((-36, -26, 40, 6), (-38, 4, 72, 8), (-28, 24, 122, 5)),
    ((-46, 36, 76, 6), (-48, 32, 118, 7)),
    # erector spinae
    ((220, 66, 26, 20), (150, 70, 26, 20), (110, 86, 26, 11), (78, 98, 16, 5)),
)
INNER_MUSCLES: tuple[tuple[Knot, ...], ...] = (
    # psoas, iliacus
    ((220, 12, 50, 20), (150, 4, 54, 19), (100, -8, 66, 18), (45, -34, 82, 16), (5, -42, 90, 15), (-60, 14, 110, 9)),
    ((125, 14, 100, 12), (95, 0, 98, 15), (70, -12, 96, 16), (30, -34, 100, 13)),
    ((110, 34, 78, 9), (80, 30, 82, 9)),
    # piriformis
    ((58, 68, 34, 9), (38, 56, 74, 13), (14, 30, 132, 8)),
    # crura and urogenital diaphragm
    ((-52, -24, 17, 6), (-66, 8, 38, 6)),
    ((-50, -8, 0, 6), (-51, 12, 0, 7)),
)
BONE_TO_SKIN_MM = 8.0
SEAM_MM = 1.0
OUTER_GROWTH_MM = 12.0
"""Muscles outside the bony pelvis swell until they meet each other or the fascia."""

VESSELS: tuple[tuple[Knot, ...], ...] = (
    # external iliac artery and vein down to the groin
    ((220, -14, 22, 8), (140, -6, 30, 8), (112, 4, 40, 8)),
    ((112, 2, 40, 6), (80, -16, 54, 5.5), (48, -42, 66, 5), (20, -60, 76, 5), (-30, -66, 80, 5), (-200, -30, 80, 4)),
    ((112, 8, 36, 6), (80, -4, 53, 6), (48, -30, 62, 6), (20, -54, 67, 6), (-30, -58, 74, 5)),
    # internal iliac
    ((112, 8, 38, 5), (85, 34, 46, 5), (60, 44, 46, 4), (42, 42, 48, 3)),
    # spermatic cord
    ((12, -68, 52, 3), (-20, -74, 30, 4.5), (-80, -86, 15, 6)),
)
OBTURATOR: tuple[Knot, ...] = ((66, 24, 48, 2.5), (40, 4, 51, 2.5), (14, -20, 46, 2.5))


@dataclass(frozen=True)
class SoftTissue:
    """Fields over the lattice, mm; negative inside. bulk is muscle without seams and streaks."""

    skin: FloatArray
    fascia: FloatArray
    muscle: FloatArray
    bulk: FloatArray
    vessels: FloatArray
    corpora: FloatArray


def build_soft(lattice: Lattice, sizes: Sizes, hips: FloatArray, key: tuple[int, int]) -> SoftTissue:
    draws = Draws(*key, FASCIA)
    skin = build_body(lattice, sizes) + lattice.noise(draws, 110.0) * f32(3)
    everywhere = (slice(0, lattice.shape[0]), slice(0, lattice.shape[1]), slice(0, lattice.shape[2]))
    # Where a thin man's iliac crests come close to the skin it bulges over them.
    skin = convert_to_distance(union(skin, hips - f32(BONE_TO_SKIN_MM), 16))
    fascia = skin + compute_fat_depth(lattice, sizes) + lattice.noise(draws, 80.0) * f32(3.5)
    streaks = lattice.noise(draws, 22.0)
    muscle, bulk = build_muscles(lattice.points.mirror(), fascia, streaks)
    vessels = np.maximum(lattice.build_in(everywhere, lambda p: _build_lines(p.mirror(), VESSELS)), skin + f32(4))
    corpora = np.maximum(_build_corpora(lattice.points, sizes), skin + f32(3))
    return SoftTissue(skin, fascia, muscle, bulk, vessels, corpora)


def build_body(lattice: Lattice, sizes: Sizes) -> FloatArray:
    """Trunk, thighs and genitals. Widths are the patient's own; heights go with the skeleton."""
    p = lattice.points
    z = p.z
    waist = f32(1) - f32(0.07) * ramp(z, 20.0, 130.0)
    half_x = f32(sizes.half_width / sizes.skeleton) * waist
    depth = sizes.half_depth / sizes.skeleton
    half_y = f32(depth) * (f32(1) - f32(0.04) * ramp(z, 40.0, 120.0))
    middle = f32(118.0 + 0.25 * sizes.fat_back - depth) - f32(10) * ramp(z, 60.0, 150.0)
    trunk = _measure_rounded(p.x / half_x, (p.y - middle) / half_y) * f32(0.5 * (sizes.half_width + sizes.half_depth))
    trunk = common(trunk, f32(-72) - z, 30)
    thigh_x = f32(0.52 * sizes.half_width / sizes.skeleton) - f32(8) * ramp(z, -100.0, -200.0)
    thin = f32(1) - f32(0.1) * ramp(z, -80.0, -220.0)
    across = (np.abs(p.x) - thigh_x) / (f32(0.50 * sizes.half_width / sizes.skeleton) * thin)
    along = (p.y - middle * f32(0.5) + f32(6)) / (f32(0.80 * depth) * thin)
    thighs = (np.sqrt(across * across + along * along) - f32(1)) * f32(0.6 * sizes.half_depth)
    thighs = common(thighs, z + f32(30), 30)
    genitals = union(_build_corpora(p, sizes), ellipsoid(p, (-94, 0.6 * _find_front(sizes), 0), (26, 30, 25)), 8)
    back = 118.0 + 0.25 * sizes.fat_back
    # Not a tube: its field must be continuous as far as the wide blend reaches.
    cleft = union(
        cone(p, (35, back + 10, 0, 6), (-20, back + 1, 0, 6)), cone(p, (-20, back + 1, 0, 6), (-75, back - 10, 0, 7)), 6
    )
    return without(union(union(trunk, thighs, 36), genitals - f32(3), 14), cleft, 0.0, 26)


def _find_front(sizes: Sizes) -> float:
    """Y of the belly in the reference man."""
    return 118.0 + 0.25 * sizes.fat_back - 2 * sizes.half_depth / sizes.skeleton


def _build_corpora(p: Points, sizes: Sizes) -> FloatArray:
    """Penis and testes."""
    front = _find_front(sizes)
    shaft = tube(p, ((-62, -4, 0, 7), (-58, -34, 0, 9), (-68, 0.62 * front, 0, 11), (-94, 0.76 * front, 3, 11)), 8)
    testis = ellipsoid(p.mirror(), (-98, 0.55 * front, 14), (18, 16, 12))
    return union(shaft, testis)


def _measure_rounded(x: FloatArray, y: FloatArray) -> FloatArray:
    """An oval between ellipse and box, less 1: the section of a trunk."""
    a, b = x * x, y * y
    ellipse = np.sqrt(a + b)
    box = np.sqrt(np.sqrt(a * a + b * b))
    return np.asarray(ellipse * f32(0.62) + box * f32(0.38) - f32(1), np.float32)


def compute_fat_depth(lattice: Lattice, sizes: Sizes) -> FloatArray:
    """Thickness of the fat under the skin, mm: thick in front, behind and at the hips."""
    y = lattice.points.y
    depth = f32(sizes.fat_side) + f32(sizes.fat_front - sizes.fat_side) * ramp(y, -35.0, -80.0)
    depth = depth + f32(sizes.fat_back - sizes.fat_side) * ramp(y, 40.0, 90.0)
    return depth * (f32(1) - f32(0.35) * ramp(lattice.points.z, -50.0, -120.0))


def build_muscles(p: Points, fascia: FloatArray, streaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """All muscles (p mirrored), parted by seams of fat and streaked within; and without seams and streaks."""
    inner, inner_seam = _find_nearest(
        [
            *(tube(p, knots, 8) - f32(1.5) for knots in INNER_MUSCLES),
            build_obturator_internus(p),
            build_levator(p),
            *build_abdominal_wall(p, fascia),
        ]
    )
    outer, outer_seam = _find_nearest([tube(p, knots, 8) - f32(OUTER_GROWTH_MM) for knots in OUTER_MUSCLES])
    outer = without(without(outer, build_deep_spaces(p)), inner, 2 * SEAM_MM)
    bulk = np.maximum(union(inner, outer), fascia + f32(0.5))
    parted = union(np.maximum(inner, inner_seam), np.maximum(outer, outer_seam))
    strand = f32(0.3) - np.abs(streaks) * f32(12)
    return np.maximum(np.maximum(parted, bulk), strand), bulk


def _find_nearest(sheets: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """All sheets together, and the seams of 2 SEAM_MM where two of them meet (negative away from these)."""
    first = np.full(sheets[0].shape, FAR, np.float32)
    second = first.copy()
    for sheet in sheets:
        np.minimum(second, np.maximum(first, sheet), out=second)
        np.minimum(first, sheet, out=first)
    # Half the difference of two distances is the distance from where they are equal.
    return first, f32(SEAM_MM) - (second - first) * f32(0.5)


def build_deep_spaces(p: Points) -> FloatArray:
    """Where the outer muscles do not go: the pelvic cavity, the ischioanal fossae and the perineum."""
    cavity = ellipsoid(p, (40, 14, 0), (92, 60, 60))
    fossa = tube(p, ((-20, 52, 26, 16), (-55, 56, 22, 20), (-80, 66, 6, 14)), 6)
    perineum = tube(p, ((-55, -30, 0, 16), (-75, 20, 0, 16), (-80, 50, 0, 18)), 6)
    cleft = tube(p, ((60, 100, 0, 8), (10, 96, 0, 9), (-60, 88, 0, 11)))
    return union(union(cavity, fossa, 6), union(perineum, cleft), 6)


def build_obturator_internus(p: Points) -> FloatArray:
    """A plate on the inner wall of the pelvis."""
    return union(ellipsoid(p, (-6, 4, 54), (34, 36, 8)), tube(p, ((-2, 34, 58, 7), (-12, 46, 68, 5)), 4), 6)


def build_levator(p: Points) -> FloatArray:
    """The pelvic floor: the lower half of a bowl below the prostate, open in front and round the anal canal."""
    bowl = np.abs(ellipsoid(p, (2, 14, 0), (50, 41, 38))) - f32(2.1)
    return common(common(bowl, p.z + f32(10)), f32(-20) - p.y, 2)


def build_abdominal_wall(p: Points, fascia: FloatArray) -> list[FloatArray]:
    """Rectus abdominis and the flank muscles: a layer under the fascia."""
    inwards = np.maximum(fascia, f32(-40))
    rectus = np.abs(inwards + f32(6)) - f32(4.5)
    rectus = common(common(rectus, slab(p.x, 36.0, 31.0), 3), p.y + f32(30))
    flank = np.abs(inwards + f32(8)) - f32(6.5)
    # Above the inguinal ligament, between rectus and iliac crest.
    flank = common(flank, f32(4) + (p.x - f32(25)) * f32(0.86) - p.z, 4)
    flank = common(common(flank, f32(71) - p.x, 3), p.y - f32(60))
    return [common(rectus, f32(2) - p.z, 4), flank]


def _build_lines(p: Points, lines: tuple[tuple[Knot, ...], ...]) -> FloatArray:
    result = tube(p, lines[0], 3)
    for line in lines[1:]:
        result = union(result, tube(p, line, 3))
    return result


def build_nodal_chain(p: Points, top_z: float) -> FloatArray:
    """External, internal and obturator iliac nodes: 7 mm round the vessels, from top_z down to the femoral heads."""
    chain = _build_lines(p.mirror(), (*(line[:4] for line in VESSELS[:-1]), OBTURATOR)) - f32(6.5)
    floor = np.where(np.abs(p.x) > f32(58), f32(30), f32(14)) - p.z
    return np.asarray(np.maximum(np.maximum(chain, floor), p.z - f32(top_z)), np.float32)


def build_peritoneal_space(
    p: Points, fascia: FloatArray, muscle: FloatArray, keep_out: list[tuple[FloatArray, float]]
) -> FloatArray:
    """Bag_Bowel: the abdominal cavity above the bladder, inside the wall of fascia and muscle, without keep_out."""
    bag = ellipsoid(p, (145, -28, 0), (115, 82, 112))
    bag = common(bag, fascia + f32(14), 10)
    bag = without(bag, muscle, 1.5, 4)
    # Behind and beside the psoas there is no peritoneum.
    q = p.mirror()
    bag = common(bag, q.y + q.x * f32(0.4) - f32(40), 10)
    for field, gap in keep_out:
        bag = without(bag, field, gap, 4)
    return bag
