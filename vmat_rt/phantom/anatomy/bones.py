"""The bones of the male pelvis and the upper femora, as signed distances in the reference man.

Origin midway between the centres of the femoral heads; proportions after the usual anatomy of an adult man lying on his
back (heads 176 mm apart, symphysis 47 mm in front of and 20 mm below them, sacral promontory 115 mm above).
Paired bones are built once with |x|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple
from vmat_rt.phantom.anatomy.fields import profile, ramp
from vmat_rt.phantom.anatomy.lattice import Lattice
from vmat_rt.phantom.anatomy.shapes import Points, common, cone, ellipsoid, f32, slab, sphere, tube, union, without

HEAD_X = 88.0
HEAD: Triple = (0.0, 0.0, HEAD_X)
_JOINT_MM = 2.5
"""Cartilage and joint space between head and socket, and between sacrum and ilium."""

_SACRUM_AXIS = ((-2.0, 63.0), (8.0, 70.0), (22.0, 77.0), (40.0, 80.0), (65.0, 74.0), (90.0, 55.0), (118.0, 26.0))
_SACRUM_WIDTH = ((-2.0, 6.0), (8.0, 7.0), (22.0, 13.0), (40.0, 29.0), (65.0, 44.0), (88.0, 58.0), (112.0, 57.0))
_SACRUM_DEPTH = ((-2.0, 5.0), (8.0, 5.5), (22.0, 7.0), (40.0, 10.0), (65.0, 14.0), (90.0, 19.0), (118.0, 22.0))


@dataclass(frozen=True)
class Bones:
    """Fields over the lattice, mm. cortex_mm is the thickness of compact bone, discs the symphysis and L5/S1."""

    pelvis: FloatArray
    femur: FloatArray
    spine: FloatArray
    discs: FloatArray
    cortex_mm: FloatArray
    all: FloatArray


def build_bones(lattice: Lattice, head_radius: float) -> Bones:
    everywhere = lattice.box((-200, -90, -175), (220, 120, 175))
    femur = lattice.build_in(everywhere, lambda p: build_femora(p.mirror(), head_radius))
    spine = lattice.build_in(lattice.box((-12, 0, -75), (220, 120, 75)), build_vertebrae)
    pelvis = lattice.build_in(everywhere, lambda p: build_hip_bones(p.mirror(), head_radius))
    pelvis = without(pelvis, spine, _JOINT_MM)
    discs = lattice.build_in(lattice.box((-55, -70, -40), (180, 60, 40)), _build_discs)
    bones = union(union(pelvis, femur), spine)
    # The shaft of the femur is a tube of compact bone; elsewhere it is a thin shell.
    shaft = ramp(lattice.points.z, -30.0, -75.0)
    cortex = f32(1.9) + f32(3.6) * shaft * (femur < pelvis)
    return Bones(pelvis, femur, spine, discs, cortex.astype(np.float32), bones)


def build_femora(p: Points, head_radius: float) -> FloatArray:
    """Heads, necks, trochanters and shafts (p mirrored)."""
    neck = tube(p, ((-1, 0, 92, 17), (-19, 4, 113, 14.5), (-34, 9, 132, 19)), 6)
    shaft = tube(p, ((-30, 11, 133, 20), (-68, 10, 131, 16.5), (-220, 2, 120, 14.5)), 10)
    greater = tube(p, ((3, 22, 140, 8), (-16, 19, 146, 13), (-38, 14, 142, 14)), 8)
    lesser = cone(p, (-66, 24, 119, 9), (-60, 16, 124, 12))
    bone = union(union(union(neck, shaft, 10), greater, 12), lesser, 10)
    return union(bone, sphere(p, HEAD, head_radius), 4)


def build_hip_bones(p: Points, head_radius: float) -> FloatArray:
    """Ilium, ischium and pubis of both sides with the sockets hollowed out (p mirrored)."""
    ischium = tube(p, ((6, 30, 80, 13), (-28, 33, 68, 12), (-66, 30, 57, 14), (-70, 14, 46, 8), (-48, -34, 19, 6.5)), 8)
    pubis = tube(p, ((10, -22, 72, 12), (4, -38, 46, 8), (-10, -46, 18, 9)), 8)
    body = ellipsoid(p, (-24, -46, 12), (19, 10, 11))
    brim = tube(p, ((30, 4, 84, 17), (58, 34, 68, 12), (92, 60, 55, 11)), 10)
    bone = union(union(ischium, union(pubis, body, 8), 8), union(brim, build_iliac_wing(p), 10), 8)
    bone = union(bone, build_socket(p, head_radius), 6)
    bone = without(bone, sphere(p, HEAD, head_radius), _JOINT_MM)
    return np.asarray(np.maximum(bone, f32(2.2) - p.x), np.float32)


def build_socket(p: Points, head_radius: float) -> FloatArray:
    """A cup 9 mm thick round the head, open to the side, downwards and forwards."""
    cup = np.maximum(sphere(p, HEAD, head_radius + 11), -sphere(p, HEAD, head_radius + _JOINT_MM))
    opening = (p.z * f32(-0.58)) + (p.y * f32(-0.34)) + (p.x - f32(HEAD_X)) * f32(0.74)
    return common(cup, opening - f32(3), 3)


def build_iliac_wing(p: Points) -> FloatArray:
    """A bent plate from sacroiliac joint to spine and crest, flared upwards, hollow towards the front."""
    rise = np.maximum(p.z - f32(55), f32(0))
    along = (p.y - f32(8)) / f32(60)
    middle = f32(88) - f32(0.60) * p.y + f32(0.10) * (p.z - f32(95)) + f32(0.0034) * rise * rise
    middle = middle + f32(8) * (f32(1) - along * along)
    across = np.abs(p.x - middle) * f32(0.78)
    rim = ellipsoid(p, (88, 11, 90), (66, 62, 400))
    thickness = f32(3.6) + f32(4.0) * ramp(rim, -20.0, -4.0)
    return common(across - thickness, rim, 5)


def build_vertebrae(p: Points) -> FloatArray:
    """Sacrum, coccyx and the lumbar vertebrae above, with their canal."""
    axis = profile(p.z, _SACRUM_AXIS)
    width, depth = profile(p.z, _SACRUM_WIDTH), profile(p.z, _SACRUM_DEPTH)
    side = np.abs(p.x)
    # The wings lie behind the bodies' front: the section is a crescent.
    y = (p.y - axis - side * side * f32(0.004)) / depth
    x = p.x / width
    reach = np.sqrt(x * x + y * y)
    sacrum = (reach - f32(1)) * np.minimum(depth, width) * f32(0.8)
    sacrum = common(sacrum, slab(p.z, 58.0, 58.0), 4)
    crest = tube(p, ((112, 56, 0, 5), (85, 80, 0, 5), (45, 92, 0, 5)), 3)
    sacrum = union(sacrum, crest, 6)
    canal = tube(p, ((220, 42, 0, 9), (122, 42, 0, 9), (100, 63, 0, 8), (70, 84, 0, 5), (55, 87, 0, 3)), 3)
    q = Points(p.z, p.y, side)
    for level in (102.0, 82.0, 62.0):
        front = float(profile(np.array([level], np.float32), _SACRUM_AXIS)[0])
        hole = cone(q, (level - 4, front - 25, 24, 5), (level + 2, front + 30, 19, 4))
        sacrum = without(sacrum, hole, 0.0, 2)
    bone = union(sacrum, _build_lumbar(q))
    return without(bone, canal, 0.0, 1)


def _build_lumbar(q: Points) -> FloatArray:
    """L5 to L3: bodies, arches and processes (q mirrored)."""
    bone = np.full(q.z.shape, 200, np.float32)
    for centre, y in ((140.0, 11.0), (178.0, 7.0), (216.0, 7.0)):
        body = common(_measure_oval(q, y, 18.0, 25.0), slab(q.z, centre, 14.0), 4)
        arch = tube(q, ((centre, y + 16, 17, 5), (centre - 4, y + 38, 9, 5), (centre - 6, y + 44, 0, 5)), 3)
        spine = cone(q, (centre - 6, y + 44, 0, 4), (centre - 12, y + 68, 0, 4.5))
        wing = cone(q, (centre, y + 22, 20, 5), (centre + 3, y + 22, 42, 4))
        bone = union(bone, union(union(body, arch, 4), union(spine, wing), 4))
    return bone


def _measure_oval(q: Points, y: float, depth: float, width: float) -> FloatArray:
    return ellipsoid(Points(q.z * f32(0), q.y, q.x), (0, y, 0), (1000, depth, width))


def _build_discs(p: Points) -> FloatArray:
    """Fibrocartilage of the symphysis, L5/S1 and L4/L5."""
    symphysis = common(ellipsoid(p, (-22, -46, 0), (17, 9, 12)), slab(p.x, 0.0, 2.6))
    low = common(_measure_oval(p, 17.0, 16.0, 24.0), slab(p.z, 121.0, 5.5), 3)
    high = common(_measure_oval(p, 9.0, 17.0, 24.0), slab(p.z, 159.0, 5.5), 3)
    return union(symphysis, union(low, high))
