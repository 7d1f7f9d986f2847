"""Random draws and low-frequency fields that are the same on every machine.

Only what IEEE 754 and numpy promise is used: raw words of PCG64 (its stream is fixed; the methods of Generator are
not), element-wise + - * / sqrt and comparisons (correctly rounded, whatever the vector width), and take. Exponentials,
sines, sums and matrix products of arrays are avoided: their last bits depend on the processor.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import FloatArray
from vmat_rt.errors import ConfigError
from vmat_rt.grid import Shape

DECIMALS = 6
"""Scalars from `math` are rounded to this many decimals, past which the C libraries agree."""


class Draws:
    """A stream of random numbers for one purpose, from a key of non-negative integers (seed, index, purpose ...)."""

    def __init__(self, *key: int) -> None:
        if min(key) < 0:
            raise ConfigError(f"seed and index must not be negative, but are {key}")
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high]."""
        share = int(self._bits.random_raw()) >> 11
        return round(low + (high - low) * share / 2**53, DECIMALS)

    def skewed(self, low: float, high: float, power: float) -> float:
        """One number in [low, high] whose density falls (power > 1) towards high."""
        return round(low + (high - low) * math.pow(self.uniform(0.0, 1.0), power), DECIMALS)

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def permutation(self, count: int) -> list[int]:
        """0 ... count - 1 in random order (Fisher and Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = int(self._bits.random_raw()) % (last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def signs(self, shape: Shape) -> FloatArray:
        """Independent numbers in [-1, 1), float32, exact multiples of 2^-23."""
        words = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(40)
        return (words.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).reshape(shape)

    def bell(self, rows: int, columns: int) -> NDArray[np.int32]:
        """Bell-shaped integers (rows, columns), mean 0, standard deviation BELL_SPREAD: sums of four bytes, centred."""
        words = np.asarray(self._bits.random_raw((rows * columns + 1) // 2), np.uint64)
        pairs = np.uint64(0x00FF00FF00FF00FF)
        total = (words & pairs) + ((words >> np.uint64(8)) & pairs)
        total = (total + (total >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
        halves = np.stack([total & np.uint64(0xFFFF), total >> np.uint64(32)]).astype(np.int32)
        return halves.ravel()[: rows * columns].reshape(rows, columns) - np.int32(510)


BELL_SPREAD = 147.8
"""sqrt(4 (256^2 - 1) / 12): the standard deviation of Draws.bell."""


def ramp(values: FloatArray, start: float, end: float) -> FloatArray:
    """0 below start, 1 above end and the cubic 3 t^2 - 2 t^3 between (start may be the larger one)."""
    t = np.minimum(np.maximum((values - np.float32(start)) / np.float32(end - start), np.float32(0)), np.float32(1))
    return np.asarray(t * t * (np.float32(3) - np.float32(2) * t), np.float32)


def profile(values: FloatArray, table: tuple[tuple[float, float], ...]) -> FloatArray:
    """Piecewise linear function through (position, value) pairs, constant beyond both ends; positions rise."""
    result = np.full(values.shape, table[0][1], np.float32)
    for (p0, v0), (p1, v1) in itertools.pairwise(table):
        t = np.minimum(np.maximum((values - np.float32(p0)) / np.float32(p1 - p0), np.float32(0)), np.float32(1))
        result += t * np.float32(v1 - v0)
    return result


def lerp_axis(array: FloatArray, axis: int, first: NDArray[np.intp], share: NDArray[np.float32]) -> FloatArray:
    """Linear interpolation along one axis: array[first] (1 - share) + array[first + 1] share."""
    shape = [1] * array.ndim
    shape[axis] = len(share)
    weight = share.reshape(shape)
    low = array.take(first, axis=axis)
    high = array.take(first + 1, axis=axis)
    high -= low
    high *= weight
    high += low
    return high


def draw_smooth_noise(draws: Draws, shape: Shape, spacing_mm: float, wavelength_mm: float) -> FloatArray:
    """Random field on a lattice, values in [-1, 1), continuous with its slope: float32 (z, y, x).

    Independent numbers half a wavelength apart, between which each axis follows the cubic of `ramp`.
    """
    knot = wavelength_mm / 2 / spacing_mm
    field = draws.signs(
        (
            math.ceil(shape[0] / knot) + 2,
            math.ceil(shape[1] / knot) + 2,
            math.ceil(shape[2] / knot) + 2,
        )
    )
    for axis in (0, 1, 2):
        position = np.arange(shape[axis], dtype=np.float64) / knot
        first = np.floor(position)
        share = ramp((position - first).astype(np.float32), 0.0, 1.0)
        field = lerp_axis(field, axis, first.astype(np.intp), share)
    return field
