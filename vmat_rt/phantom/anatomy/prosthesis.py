"""A total hip replacement on one side, and the streaks that its metal throws over the slice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.grid import Triple
from vmat_rt.phantom.anatomy.bones import HEAD_X
from vmat_rt.phantom.anatomy.fields import DECIMALS, Draws
from vmat_rt.phantom.anatomy.imaging import Layer
from vmat_rt.phantom.anatomy.lattice import Sampler
from vmat_rt.phantom.anatomy.scene import Anatomy
from vmat_rt.phantom.anatomy.shapes import Points, common, f32, sphere, tube, union
from vmat_rt.phantom.anatomy.traits import METAL

METAL_HU = 3071.0
LINER_HU = 95.0
_RAYS = 18


@dataclass(frozen=True)
class Ray:
    """One streak through the metal: the normal (y, x) of its line, half width in mm, HU."""

    normal_y: float
    normal_x: float
    half_mm: float
    hu: float


@dataclass(frozen=True)
class Prosthesis:
    """Head, cup and stem on one side: +1 the patient's left."""

    side: int
    scale: float
    rays: tuple[Ray, ...]

    @staticmethod
    def of(scene: Anatomy) -> Prosthesis | None:
        """The patient's prosthesis, if he has one."""
        if scene.traits.prosthesis_side is None:
            return None
        draws = Draws(*scene.key, METAL, 1)
        side = 1 if scene.traits.prosthesis_side == "L" else -1
        return Prosthesis(side, scene.sizes.skeleton, tuple(_draw_ray(draws) for _ in range(_RAYS)))

    def layers(self, scene: Anatomy) -> list[Layer]:
        """Soft tissue where head and neck were taken out, the liner, and metal."""
        lattice, side = scene.lattice, self.side
        centre: Triple = (0.0, 0.0, side * HEAD_X)
        edges = sorted((side * 30.0, side * 170.0))
        box = lattice.box((-170, -50, edges[0]), (45, 60, edges[1]))

        def gap(p: Points) -> FloatArray:
            neck = tube(p, ((0, 0, side * 92, 21), (-18, 4, side * 112, 18)), 4)
            return union(neck, sphere(p, centre, 27.5), 4)

        def metal(p: Points) -> FloatArray:
            shell = np.maximum(sphere(p, centre, 27.0), -sphere(p, centre, 23.5))
            tilt = p.z * f32(-0.66) + p.y * f32(-0.25) + (p.x * f32(side) - f32(HEAD_X)) * f32(0.71)
            cup = common(shell, tilt - f32(2))
            stem = tube(
                p,
                (
                    (0, 0, side * 88, 6.5),
                    (-22, 6, side * 116, 7),
                    (-38, 10, side * 130, 9.5),
                    (-75, 10, side * 131, 8),
                    (-140, 6, side * 126, 5.5),
                ),
                3,
            )
            return union(union(cup, sphere(p, centre, 15.0)), stem)

        return [
            Layer(lattice.build_in(box, gap), 45.0),
            Layer(lattice.build_in(box, lambda p: sphere(p, centre, 25.0)), LINER_HU),
            Layer(lattice.build_in(box, metal), METAL_HU),
        ]

    def streak(self, plane: FloatArray, sampler: Sampler, k: int, shift_mm: Triple) -> FloatArray:
        """The slice with bright and dark streaks from the metal, fading with distance (HU)."""
        grid = sampler.grid
        z = float(grid.axis_mm(0)[k]) - shift_mm[0]
        strength = max(0.0, 1.0 - abs(z) / 38.0) + (0.25 if -130.0 < z < -20.0 else 0.0)
        if strength <= 0:
            return plane
        # Below the head the metal is the stem, further out.
        x0 = self.side * self.scale * (HEAD_X + 40.0 * min(1.0, max(0.0, -z / 40.0)))
        y = (grid.axis_mm(1) - shift_mm[1]).astype(np.float32)[:, None]
        x = (grid.axis_mm(2) - shift_mm[2] - x0).astype(np.float32)[None]
        fade = f32(strength) / (f32(1) + (np.abs(x) + np.abs(y)) / f32(110))
        total = np.zeros_like(plane)
        for ray in self.rays:
            off = np.abs(y * f32(ray.normal_y) + x * f32(ray.normal_x)) / f32(ray.half_mm)
            total += np.maximum(f32(1) - off, f32(0)) * f32(ray.hu)
        # Neither air nor metal shows streaks.
        solid = (plane > f32(-700)) & (plane < f32(1800))
        return np.asarray(plane + total * fade * solid, np.float32)


def _draw_ray(draws: Draws) -> Ray:
    y, x = draws.uniform(-1.0, 1.0), draws.uniform(-0.6, 0.6)
    length = math.sqrt(y * y + x * x) + 1e-3
    hu = draws.uniform(20.0, 80.0) * (1 if draws.chance(0.45) else -1)
    return Ray(round(y / length, DECIMALS), round(x / length, DECIMALS), draws.uniform(1.8, 5.0), hu)
