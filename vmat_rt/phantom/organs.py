"""Prostate, seminal vesicles, rectum, bladder and penile bulb: shaped in the reference man, scaled to drawn volumes.

The order says who gives way: prostate, vesicles, rectum, bladder. The rectum lies with its front wall on the prostate and
is indented by it; how far it reaches forward is chosen so that the drawn part of PTV_7000 lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple
from vmat_rt.phantom.bones import Bones
from vmat_rt.phantom.fields import DECIMALS, Draws
from vmat_rt.phantom.lattice import Box, Lattice, count_cc, true_distance
from vmat_rt.phantom.shapes import Knot, Points, ellipsoid, f32, tube, union, without
from vmat_rt.phantom.targets import prostate_target
from vmat_rt.phantom.traits import SURFACE, Sizes, Traits

MIDLINE: tuple[Triple, Triple] = ((-110.0, -110.0, -85.0), (140.0, 100.0, 85.0))
"""The part of the reference man that holds these organs."""

_APEX_Z = -42.0
_POSTERIOR_Y = 20.0
"""Where the lower end and the back of every prostate lie; a large one grows forwards and into the bladder."""

_RECTUM: tuple[Knot, ...] = (
    (-60, 44, 0, 11),
    (-45, 38, 0, 12),
    (-32, 40, 1, 14),
    (-16, 43, 2, 16.5),
    (2, 46, 1, 17),
    (20, 50, -2, 17),
    (36, 53, -4, 17),
    (52, 52, 0, 16),
    (64, 46, 5, 15),
    (72, 38, 9, 14),
)
_SHIFTS_MM = tuple(0.75 * step for step in range(-6, 15))


@dataclass(frozen=True)
class Organs:
    """Signed distances over the lattice, mm, and where the prostate sits in the reference man (z, y, x)."""

    prostate: FloatArray
    vesicles: FloatArray
    rectum: FloatArray
    bladder: FloatArray
    bulb: FloatArray
    spacer: FloatArray | None
    prostate_centre: Triple
    prostate_radii: Triple


def build_organs(lattice: Lattice, sizes: Sizes, traits: Traits, bones: Bones, key: tuple[int, int]) -> Organs:
    box = lattice.box(*MIDLINE)
    points = lattice.at(box)
    bone = bones.all[box]
    draws = Draws(*key, SURFACE)
    bumps = [lattice.noise(draws, wavelength)[box] for wavelength in (28.0, 45.0, 70.0, 60.0)]
    centre, radii = _prostate_frame(sizes)
    whole = lambda inner: _whole(lattice, box, inner)  # noqa: E731

    scaled = scaled_to(sizes.prostate_cc, lambda s: prostate(points, sizes, s) + bumps[1] * f32(1.4))
    own = _in_box(lattice, box, scaled)
    scaled = scaled_to(sizes.vesicles_cc, lambda s: without(vesicles(points, centre, radii, s) + bumps[0], own, 0.3))
    horns = scaled
    spacer = _spacer(points, centre, radii) if traits.rectal_spacer else None
    if spacer is not None:
        spacer = without(without(spacer, own, 0.3), horns, 0.5)
    target = prostate_target(whole(own))[box]
    tract = _rectum(points, sizes, _Neighbours(own, horns, spacer, bone, target, bumps[3]))
    sac = scaled_to(
        sizes.bladder_cc,
        lambda s: _yielding(bladder(points, sizes, centre, radii, s) + bumps[2] * f32(3), own, horns, tract, bone),
    )
    apex = (_APEX_Z - 19, 6.0, 0.0)
    knob = scaled_to(sizes.bulb_cc, lambda s: without(ellipsoid(points, apex, (9.5 * s, 13 * s, 10.5 * s)), bone, 2))
    return Organs(
        whole(own),
        whole(horns),
        whole(_in_box(lattice, box, tract)),
        whole(_in_box(lattice, box, sac)),
        whole(_in_box(lattice, box, knob)),
        None if spacer is None else whole(spacer),
        centre,
        radii,
    )


def scaled_to(volume_cc: float, shape: Callable[[float], FloatArray]) -> FloatArray:
    """shape(scale), the scale chosen in three steps so that it holds volume_cc."""
    scale = 1.0
    for _ in range(3):
        found = count_cc(shape(scale) < 0)
        scale = round(scale * math.pow(volume_cc / max(found, 0.5), 1 / 3), DECIMALS)
    return shape(scale)


def prostate(p: Points, sizes: Sizes, scale: float) -> FloatArray:
    """An egg that tapers to the apex, flattened behind; apex and back stay in place when it is scaled."""
    (z, y, x), (rz, ry, rx) = _prostate_frame(sizes, scale)
    taper = f32(1) + f32(0.45) * np.maximum((f32(z) - p.z) / f32(rz), f32(0))
    egg = ellipsoid(
        Points(p.z, f32(y) + (p.y - f32(y)) * (taper * f32(0.5) + f32(0.5)), p.x * taper), (z, y, x), (rz, ry, rx)
    )
    hollow = ellipsoid(p, (z, _POSTERIOR_Y + 19, 0), (60, 21, 34))
    return without(egg, hollow, 0.0, 6)


def _prostate_frame(sizes: Sizes, scale: float = 1.0) -> tuple[Triple, Triple]:
    size = math.pow(sizes.prostate_cc * 1.16 / (4 / 3 * math.pi) * 1000, 1 / 3) * scale
    aspect = sizes.prostate_aspect
    rz, ry, rx = (round(size * f, DECIMALS) for f in (1.0 * aspect, 0.87, 1.15 / aspect))
    return (round(_APEX_Z + rz, DECIMALS), round(_POSTERIOR_Y - ry, DECIMALS), 0.0), (rz, ry, rx)


def vesicles(p: Points, centre: Triple, radii: Triple, scale: float) -> FloatArray:
    """Two horns behind the bladder, from the back of the prostate's base upwards and outwards."""
    z, y = centre[0] + 0.78 * radii[0], centre[1] + 0.62 * radii[1]
    r = 6.0 * scale
    horn = tube(
        p.mirrored(),
        (
            (z - 2, y, 4, 0.75 * r),
            (z + 7, y + 4, 10, r),
            (z + 13, y + 7, 20, 1.05 * r),
            (z + 16, y + 9, 30, 0.8 * r),
        ),
        4,
    )
    return horn


@dataclass(frozen=True)
class _Neighbours:
    """What the rectum gives way to, and the target that must overlap it; all on the organs' box."""

    prostate: FloatArray
    vesicles: FloatArray
    spacer: FloatArray | None
    bone: FloatArray
    target: FloatArray
    bumps: FloatArray


def _rectum(p: Points, sizes: Sizes, near: _Neighbours) -> FloatArray:
    """The rectum of the drawn volume whose overlap with PTV_7000 comes nearest to the drawn one."""

    def made(shift: float, scale: float) -> FloatArray:
        raw = rectum(p, scale, shift) + near.bumps * f32(2.2)
        raw = without(without(raw, near.prostate, 0.6, 2), near.vesicles, 0.6, 2)
        if near.spacer is not None:
            raw = without(raw, near.spacer, 0.3)
        return without(raw, near.bone, 4.0, 3)

    best = None
    scale = 1.0
    for shift in (0.0, 4.0, 8.0, 2.0, 6.0, 10.0, -3.0):
        for _ in range(2):
            found = count_cc(made(shift, scale) < 0)
            scale = round(scale * math.pow(sizes.rectum_cc / max(found, 1.0), 1 / 2), DECIMALS)
        field = made(shift, scale)
        miss = abs(count_cc((field < 0) & (near.target < 0)) - sizes.overlap_cc)
        if best is None or miss < best[0]:
            best = (miss, field)
    assert best is not None
    return best[1]


def rectum(p: Points, scale: float, forward_mm: float) -> FloatArray:
    """From the anal canal along sacrum and prostate to the bend into the sigmoid; its middle shifted forwards."""
    knots = [
        (z, y - forward_mm * max(0.0, 1.0 - abs(z + 14) / 45), x, r * (scale if z > -50 else 1.0))
        for z, y, x, r in _RECTUM
    ]
    return tube(p, knots, 5)


def bladder(p: Points, sizes: Sizes, centre: Triple, radii: Triple, scale: float) -> FloatArray:
    """A sac that rests on the prostate's base, flat when little filled."""
    size = math.pow(sizes.bladder_cc * 1.08 / (4 / 3 * math.pi) * 1000, 1 / 3) * scale
    fill = min(1.0, max(0.0, (sizes.bladder_cc - 90) / 300))
    rz = round(size * (0.80 + 0.12 * fill) * sizes.bladder_aspect, DECIMALS)
    ry = round(size * 0.98, DECIMALS)
    rx = round(size * (1.27 - 0.12 * fill) / sizes.bladder_aspect, DECIMALS)
    base = centre[0] + radii[0]
    z, y = base + 0.80 * rz - 3, centre[1] - 6 - 0.12 * ry
    sac = ellipsoid(p, (z, y, 0), (rz, ry, rx))
    neck = tube(p, ((base - 5, centre[1] - 3, 0, 9), (base + 10, centre[1] - 6, 0, 16)), 4)
    return union(sac, neck, 14)


def _yielding(
    sac: FloatArray, prostate: FloatArray, vesicles: FloatArray, rectum: FloatArray, bone: FloatArray
) -> FloatArray:
    sac = without(without(sac, vesicles, 0.8, 3), rectum, 2.5, 4)
    return without(without(sac, bone, 5.0, 6), prostate, 0.2)


def _spacer(p: Points, centre: Triple, radii: Triple) -> FloatArray:
    """Hydrogel injected between prostate and rectum: a lens about 12 mm thick."""
    return ellipsoid(p, (centre[0] + 1, _POSTERIOR_Y + 4, 0), (radii[0] + 2, 10, 24))


def _whole(lattice: Lattice, box: Box, inner: FloatArray) -> FloatArray:
    return lattice.built(box, lambda _: inner)


def _in_box(lattice: Lattice, box: Box, inner: FloatArray) -> FloatArray:
    """The field in the box made a true distance near its surface."""
    return true_distance(_whole(lattice, box, inner), box)[box]
