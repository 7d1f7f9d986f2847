"""Loops of bowel in the peritoneal space: random tubes with wall, fluid and some gas, mesenteric fat between."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vmat_rt.phantom.anatomy.fields import Draws
from vmat_rt.phantom.anatomy.imaging import Layer
from vmat_rt.phantom.anatomy.scene import Anatomy
from vmat_rt.phantom.anatomy.shapes import FAR, Knot, f32, tube
from vmat_rt.phantom.anatomy.traits import LOOPS

LOOPS_COUNT = 60
_LOW = (30.0, -85.0, -95.0)
_HIGH = (175.0, 35.0, 95.0)


def build_bowel_loops(scene: Anatomy) -> list[Layer]:
    """Wall, fluid and gas of all loops, from the outside inwards."""
    draws = Draws(*scene.key, LOOPS)
    p = scene.lattice.points
    first = np.full(scene.lattice.shape, FAR, np.float32)
    second = first.copy()
    gassy = first.copy()
    for _ in range(LOOPS_COUNT):
        loop = tube(p, _draw_loop(draws), 5)
        np.minimum(second, np.maximum(first, loop), out=second)
        np.minimum(first, loop, out=first)
        if draws.chance(0.3):
            np.minimum(gassy, loop, out=gassy)
    # Neighbouring loops flatten each other; half a millimetre of fat shows between some.
    seam = f32(0.4) - (second - first) * f32(0.5)
    loops = np.maximum(np.maximum(first, seam), scene.bag + f32(1))
    fluid = loops + f32(2.6)
    level = p.y + f32(38) + scene.lattice.noise(draws, 60.0) * f32(26)
    gas = np.maximum(np.maximum(fluid, gassy + f32(2.6)), level * f32(0.7))
    return [Layer(loops, 44.0), Layer(fluid, 22.0), Layer(gas, -930.0)]


def _draw_loop(draws: Draws) -> list[Knot]:
    """A wandering tube of 8 to 15 mm radius inside the box of the peritoneal space."""
    at = [draws.uniform(low, high) for low, high in zip(_LOW, _HIGH, strict=True)]
    radius = draws.uniform(10.0, 16.0)
    knots: list[Knot] = [(at[0], at[1], at[2], radius)]
    for step in _draw_steps(draws):
        at = [min(max(a + s, low), high) for a, s, low, high in zip(at, step, _LOW, _HIGH, strict=True)]
        knots.append((at[0], at[1], at[2], radius * draws.uniform(0.85, 1.15)))
    return knots


def _draw_steps(draws: Draws) -> Iterator[list[float]]:
    for _ in range(5):
        step = [draws.uniform(-26.0, 26.0), draws.uniform(-20.0, 20.0), draws.uniform(-30.0, 30.0)]
        if max(map(abs, step)) < 6:
            step[2] = 12.0
        yield step
