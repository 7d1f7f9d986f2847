"""Prostate, seminal vesicles, rectum, bladder and penile bulb: shaped in the reference man, scaled to drawn volumes.

The order says who gives way: prostate, vesicles, rectum, bladder. The rectum lies with its front wall on the prostate
and is indented by it; how far it reaches forward is chosen so that the drawn part of PTV_7000 lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Box, Triple
from vmat_rt.phantom.anatomy.bones import Bones
from vmat_rt.phantom.anatomy.fields import DECIMALS, Draws
from vmat_rt.phantom.anatomy.lattice import Lattice, convert_to_distance, count_cc
from vmat_rt.phantom.anatomy.shapes import FAR, Knot, Points, ellipsoid, f32, tube, union, without
from vmat_rt.phantom.anatomy.targets import build_prostate_target
from vmat_rt.phantom.anatomy.traits import SURFACE, Sizes, Traits

MIDLINE: tuple[Triple, Triple] = ((-110.0, -110.0, -85.0), (140.0, 100.0, 85.0))
"""The part of the reference man that holds these organs."""

_APEX_Z = -42.0
_POSTERIOR_Y = 20.0
"""Where the lower end and the back of every prostate lie; a large one grows forwards and into the bladder."""

RECTUM_BOX: tuple[Triple, Triple] = ((-80.0, 0.0, -40.0), (92.0, 90.0, 40.0))

_RECTUM_FRONT: tuple[tuple[float, float, float, float], ...] = (
    (-33, 23, 1, 0.88),
    (-17, 21, 2, 1.0),
    (-1, 22, 1, 1.04),
)
"""Behind the prostate: z, y of the front wall, x, share of the usual radius."""
_RECTUM_MIDDLE: tuple[tuple[float, float, float, float], ...] = (
    (17, 46, -2, 1.06),
    (34, 51, -4, 1.05),
    (51, 51, 0, 1.0),
    (64, 46, 5, 0.95),
    (73, 37, 9, 0.88),
)
"""Before the sacrum: z, y of the middle, x, share of the usual radius."""
_RECTUM_RADIUS = 13.0
_RECTUM_WIDTH = 1.45
"""Wider than deep by this factor."""
_PUSH_MM = (-5.0, 13.0)
_DETACHED_MM = -9.0
"""How far the front wall is pushed forwards; by a spacer it is pushed back."""


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
    centre, radii = _measure_prostate(sizes)

    def build_whole(inner: FloatArray) -> FloatArray:
        return lattice.build_in(box, lambda _: inner)

    own = convert_to_distance(
        scale_to(sizes.prostate_cc, lambda s: build_prostate(points, sizes, s) + bumps[1] * f32(1.4))
    )
    horns = scale_to(
        sizes.vesicles_cc, lambda s: without(build_vesicles(points, centre, radii, s) + bumps[0], own, 0.3)
    )
    spacer = _build_spacer(points, centre, radii) if traits.rectal_spacer else None
    if spacer is not None:
        spacer = without(without(spacer, own, 0.3), horns, 0.5)
    target = build_prostate_target(build_whole(own))[box]
    tight = _clip_box(box, lattice.box(*RECTUM_BOX))
    near = _Neighbours(own, horns, spacer, bone, target, bumps[3]).crop(tight)
    tract = np.full_like(own, FAR)
    tract[tight] = _build_rectum(Points(points.z[tight], points.y[tight], points.x[tight]), sizes, near)
    sac = scale_to(
        sizes.bladder_cc,
        lambda s: _press_sac(
            build_bladder(points, sizes, centre, radii, s) + bumps[2] * f32(3), own, horns, tract, bone
        ),
    )
    apex = (_APEX_Z - 19, 6.0, 0.0)
    knob = scale_to(sizes.bulb_cc, lambda s: without(ellipsoid(points, apex, (9.5 * s, 13 * s, 10.5 * s)), bone, 2))
    return Organs(
        build_whole(own),
        build_whole(convert_to_distance(horns)),
        build_whole(convert_to_distance(tract)),
        build_whole(convert_to_distance(sac)),
        build_whole(convert_to_distance(knob)),
        None if spacer is None else build_whole(spacer),
        centre,
        radii,
    )


def scale_to(volume_cc: float, shape: Callable[[float], FloatArray]) -> FloatArray:
    """shape(scale), the scale chosen in three steps so that it holds volume_cc."""
    scale = 1.0
    for _ in range(3):
        volume_cc_now = count_cc(shape(scale) < 0)
        scale = round(scale * math.pow(volume_cc / max(volume_cc_now, 0.5), 1 / 3), DECIMALS)
    return shape(scale)


def build_prostate(p: Points, sizes: Sizes, scale: float) -> FloatArray:
    """An egg that tapers to the apex, flattened behind; apex and back stay in place when it is scaled."""
    (z, y, x), (rz, ry, rx) = _measure_prostate(sizes, scale)
    taper = f32(1) + f32(0.45) * np.maximum((f32(z) - p.z) / f32(rz), f32(0))
    egg = ellipsoid(
        Points(p.z, f32(y) + (p.y - f32(y)) * (taper * f32(0.5) + f32(0.5)), p.x * taper), (z, y, x), (rz, ry, rx)
    )
    hollow = ellipsoid(p, (z, _POSTERIOR_Y + 19, 0), (60, 21, 34))
    return without(egg, hollow, 0.0, 6)


def _measure_prostate(sizes: Sizes, scale: float = 1.0) -> tuple[Triple, Triple]:
    size = math.pow(sizes.prostate_cc * 1.16 / (4 / 3 * math.pi) * 1000, 1 / 3) * scale
    aspect = sizes.prostate_aspect
    rz, ry, rx = (round(size * f, DECIMALS) for f in (1.0 * aspect, 0.87, 1.15 / aspect))
    return (round(_APEX_Z + rz, DECIMALS), round(_POSTERIOR_Y - ry, DECIMALS), 0.0), (rz, ry, rx)


def build_vesicles(p: Points, centre: Triple, radii: Triple, scale: float) -> FloatArray:
    """Two horns behind the bladder, from the back of the prostate's base upwards and outwards."""
    z, y = centre[0] + 0.78 * radii[0], centre[1] + 0.62 * radii[1]
    r = 6.0 * scale
    return tube(
        p.mirror(),
        (
            (z - 2, y, 4, 0.75 * r),
            (z + 7, y + 4, 10, r),
            (z + 13, y + 7, 20, 1.05 * r),
            (z + 16, y + 9, 30, 0.8 * r),
        ),
        4,
    )


@dataclass(frozen=True)
class _Neighbours:
    """What the rectum gives way to, and the target that must overlap it; all on the organs' box."""

    prostate: FloatArray
    vesicles: FloatArray
    spacer: FloatArray | None
    bone: FloatArray
    target: FloatArray
    bumps: FloatArray

    def crop(self, box: Box) -> _Neighbours:
        return _Neighbours(
            self.prostate[box],
            self.vesicles[box],
            None if self.spacer is None else self.spacer[box],
            self.bone[box],
            self.target[box],
            self.bumps[box],
        )


def _build_rectum(p: Points, sizes: Sizes, near: _Neighbours) -> FloatArray:
    """The rectum of the drawn volume that is pushed forwards until the drawn volume of PTV_7000 lies inside it."""

    def made(push: float, scale: float) -> FloatArray:
        raw = build_rectum(p, scale, push) + near.bumps * f32(2.2)
        raw = without(without(raw, near.prostate, 0.5, 2), near.vesicles, 0.6, 2)
        if near.spacer is not None:
            raw = without(raw, near.spacer, 0.3)
        return without(raw, near.bone, 4.0, 3)

    low, high = _PUSH_MM if near.spacer is None else (_DETACHED_MM, _DETACHED_MM)
    scale = 1.0
    for _ in range(6):
        push = (low + high) / 2
        volume_cc = count_cc(made(push, scale) < 0)
        scale = round(scale * math.pow(sizes.rectum_cc / max(volume_cc, 1.0), 0.5), DECIMALS)
        field = made(push, scale)
        too_far = count_cc((field < 0) & (near.target < 0)) > sizes.overlap_cc
        low, high = (low, push) if too_far else (push, high)
    return field


def build_rectum(p: Points, scale: float, push_mm: float) -> FloatArray:
    """From the anal canal along prostate and sacrum to the bend into the sigmoid, its front pushed forwards."""
    r = _RECTUM_RADIUS * scale
    knots: list[Knot] = [(-62, 50, 0, 11), (-48, 40, 0, 12)]
    # Pushed forwards it grows, so that its back stays where it is.
    knots += [
        (z, y + r * share - min(push_mm, 0.45 * push_mm), x, r * share + 0.55 * max(0.0, push_mm))
        for z, y, x, share in _RECTUM_FRONT
    ]
    knots += [(z, min(y, 67 - r * share), x, r * share) for z, y, x, share in _RECTUM_MIDDLE]
    flat = Points(p.z, p.y, p.x / f32(_RECTUM_WIDTH))
    return tube(flat, knots, 6)


def build_bladder(p: Points, sizes: Sizes, centre: Triple, radii: Triple, scale: float) -> FloatArray:
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


def _press_sac(
    sac: FloatArray, prostate: FloatArray, vesicles: FloatArray, rectum: FloatArray, bone: FloatArray
) -> FloatArray:
    sac = without(without(sac, vesicles, 0.8, 3), rectum, 2.5, 4)
    return without(without(sac, bone, 5.0, 6), prostate, 0.2)


def _build_spacer(p: Points, centre: Triple, radii: Triple) -> FloatArray:
    """Hydrogel injected between prostate and rectum: a lens about 12 mm thick."""
    return ellipsoid(p, (centre[0] + 1, _POSTERIOR_Y + 4, 0), (radii[0] + 2, 10, 24))


def _clip_box(box: Box, inner: Box) -> Box:
    """The inner box counted from the start of the other, as far as it lies in it."""
    parts = [slice(max(0, b.start - a.start), min(b.stop, a.stop) - a.start) for a, b in zip(box, inner, strict=True)]
    return (parts[0], parts[1], parts[2])
