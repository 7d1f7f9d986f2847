"""Predicts each voxel of a dose from those before it, in whole steps; what remains is small and packs well.

A prediction is a weighted sum of 25 voxels before it in (z, y, x) order. The weights are fitted to the dose itself by
least squares, as is usual in lossless image coding (X. Li and M. T. Orchard, IEEE Trans. Image Process. 10(6), 813-817,
2001), one set for each level of unrest: how badly the neighbours were predicted. Voxels outside the mask take a mean of
their neighbours, so that the skin is no cliff.

Fitting is in floating point and happens once; the weights are whole numbers, and so is all that follows from them. Any
weights whatever give back what went in.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

NEIGHBOURS: Final = (
    *((-1, y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)),
    *((-1, -2, 0), (-1, 2, 0), (-1, 0, -2), (-1, 0, 2), (-2, 0, 0)),
    *((0, 0, -1), (0, 0, -2), (0, 0, -3), (0, -1, -1), (0, -1, 0), (0, -1, 1)),
    *((0, -2, 0), (0, -1, -2), (0, -1, 2), (0, -2, -1), (0, -2, 1)),
)
"""Steps (z, y, x) to the voxels that a prediction is made of."""

LORENZO: Final = {(0, 0, -1): 1, (0, -1, 0): 1, (-1, 0, 0): 1, (0, -1, -1): -1, (-1, 0, -1): -1, (-1, -1, 0): -1} | {
    (-1, -1, -1): 1
}
"""Exact for a sum of functions of two coordinates each (Ibarria et al., Computer Graphics Forum 22(3), 343-348, 2003);
where fitting begins."""

ONE: Final = 1 << 16
"""The weight 1."""

LARGEST_WEIGHT: Final = 16 * ONE
UNREST: Final = np.array([8, 24, 72, 216, 648], np.int64)
"""Bounds between the levels of unrest, in steps, summed with the weights in `_scan`."""

ROUNDS: Final = 3
_PAD: Final = 3
_CAP: Final = 4000


def first_weights() -> Integers:
    """Lorenzo's, for every level: (levels, neighbours)."""
    return np.tile([ONE * LORENZO.get(step, 0) for step in NEIGHBOURS], (len(UNREST) + 1, 1)).astype(np.int64)


def fitted_weights(steps: Integers, mask: Mask) -> Integers:
    """Whole weights (levels, neighbours) that leave little of this dose; a level with few voxels keeps Lorenzo's."""
    weights = first_weights()
    field, inside, offsets = _padded(steps, mask)
    voxels = np.flatnonzero(inside)
    known = None
    for _ in range(ROUNDS):
        rest, level = _scanned(field, inside, weights)
        if known is None:
            known = np.stack([field.ravel()[voxels + offset] for offset in offsets], axis=1).astype(np.float64)
            wanted = field.ravel()[voxels].astype(np.float64)
        for each in range(len(weights)):
            rows = np.flatnonzero(level == each)
            if len(rows) >= 20 * len(offsets):
                weights[each] = _least_squares(known[rows], wanted[rows], np.abs(rest[rows]))
    return weights


def _least_squares(known: NDArray[np.float64], wanted: NDArray[np.float64], rest: Integers) -> Integers:
    """Weighted by one over the last round's error: towards the least absolute error, which is what costs bytes."""
    importance = 1.0 / (rest + rest.mean() + 1.0)
    square = (known * importance[:, None]).T @ known
    found = np.linalg.solve(square + 1e-3 * np.eye(known.shape[1]), known.T @ (wanted * importance))
    whole: Integers = np.clip(np.rint(found * ONE), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int64)
    return whole


def remainders(steps: Integers, mask: Mask, weights: Integers) -> Integers:
    """What prediction leaves of each voxel of the mask, in C order."""
    field, inside, _ = _padded(steps, mask)
    return _scanned(field, inside, weights)[0]


def restored(rest: Integers, mask: Mask, weights: Integers) -> Integers:
    """The steps (z, y, x) that left these remainders; zero outside the mask."""
    field, inside, offsets = _padded(np.zeros(mask.shape, np.int64), mask)
    level = np.empty(len(rest), np.int8)
    _scan(field, inside, (offsets, weights, UNREST), rest, level, True)
    steps: Integers = np.where(mask, field[_PAD:, _PAD:-_PAD, _PAD:-_PAD], 0)
    return steps


def _scanned(field: Integers, inside: Mask, weights: Integers) -> tuple[Integers, NDArray[np.int8]]:
    """Remainder and level of unrest of each voxel of the mask; fills what lies outside it."""
    count = int(np.count_nonzero(inside))
    rest, level = np.empty(count, np.int64), np.empty(count, np.int8)
    _scan(field, inside, (_offsets(field), weights, UNREST), rest, level, False)
    return rest, level


def _padded(steps: Integers, mask: Mask) -> tuple[Integers, Mask, Integers]:
    """Both with the margin that neighbours need, and the neighbours' distances in memory."""
    margin = ((_PAD, 0), (_PAD, _PAD), (_PAD, _PAD))
    field = np.pad(np.where(mask, steps, 0), margin)
    return field, np.pad(mask, margin), _offsets(field)


def _offsets(field: Integers) -> Integers:
    _, rows, columns = field.shape
    return np.array([(z * rows + y) * columns + x for z, y, x in NEIGHBOURS], np.int64)


@numba.njit(cache=True, nogil=True)
def _scan(field, inside, model, rest, level, restore):  # type: ignore[no-untyped-def]
    """Voxel by voxel in memory order: remainders from the field, or, to restore, the field from remainders."""
    offsets, weights, bounds = model
    _, rows, columns = field.shape
    dose, error = field.ravel(), np.zeros(field.size, np.int64)
    n, above, before = 0, rows * columns, columns
    for z in range(_PAD, field.shape[0]):
        for y in range(_PAD, rows - _PAD):
            for i in range((z * rows + y) * columns + _PAD, (z * rows + y + 1) * columns - _PAD):
                if not inside.ravel()[i]:
                    dose[i] = (2 * dose[i - above] + dose[i - before] + dose[i - 1]) >> 2
                    error[i] = (2 * error[i - above] + error[i - before] + error[i - 1]) >> 2
                    continue
                unrest = 2 * (error[i - 1] + error[i - before] + error[i - above])
                unrest += error[i - before - 1] + error[i - before + 1] + error[i - 2] + error[i - 2 * before]
                unrest += error[i - above - 1] + error[i - above + 1] + error[i - above - before]
                unrest += error[i - above + before]
                k = 0
                while k < len(bounds) and unrest >= bounds[k]:
                    k += 1
                predicted = ONE // 2
                for j in range(len(offsets)):
                    predicted += weights[k, j] * dose[i + offsets[j]]
                predicted //= ONE
                if restore:
                    dose[i] = predicted + rest[n]
                else:
                    rest[n] = dose[i] - predicted
                error[i] = min(abs(rest[n]), _CAP)
                level[n] = k
                n += 1
