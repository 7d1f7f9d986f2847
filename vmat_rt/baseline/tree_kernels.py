"""The compiled inner loops of vmat_rt.baseline.trees."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

BLOCK: Final = 2048
"""Rows that are sorted at a time; their places among each other fit in 16 bits."""


@njit(cache=True, nogil=True)
def descend(ranks, starts, column, rank, left, right, values, result):  # type: ignore[no-untyped-def]
    """Fill found (rows,) with the sum of each row's leaves, in the order of the trees; ranks is (columns, rows)."""
    rows, spare = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.uint16)
    deepest = np.max(starts[1:] - starts[:-1]) + 2
    nodes, lows, highs = np.empty(deepest, np.int64), np.empty(deepest, np.int64), np.empty(deepest, np.int64)
    for first in range(0, ranks.shape[1], BLOCK):
        count = min(BLOCK, ranks.shape[1] - first)
        total = np.zeros(count, np.float64)
        for tree in range(len(starts) - 1):
            for row in range(count):
                rows[row] = row
            # A tree without nodes is one leaf, and each tree has a leaf more than nodes.
            alone = starts[tree] == starts[tree + 1]
            nodes[0], lows[0], highs[0] = -(starts[tree] + tree) - 1 if alone else starts[tree], 0, count
            waiting = 1
            while waiting > 0:
                waiting -= 1
                node, low, high = nodes[waiting], lows[waiting], highs[waiting]
                if node < 0:
                    for position in range(low, high):
                        total[rows[position]] += values[-node - 1]
                    continue
                middle = _split(rows, low, high, ranks[column[node], first : first + count], rank[node], spare)
                if middle < high:
                    nodes[waiting], lows[waiting], highs[waiting] = right[node], middle, high
                    waiting += 1
                if middle > low:
                    nodes[waiting], lows[waiting], highs[waiting] = left[node], low, middle
                    waiting += 1
        result[first : first + count] = total


@njit(cache=True, nogil=True, inline="always")
def _split(rows, low, high, ranks, limit, spare):  # type: ignore[no-untyped-def]
    """Order rows[low:high] so that those up to the limit come first, and return where the others begin."""
    middle, others = np.int64(low), np.int64(0)
    for position in range(low, high):
        row = rows[position]
        above = np.int64(ranks[row] > limit)
        # Written to both, kept in one: nothing to guess for the processor.
        rows[middle] = row
        spare[others] = row
        others += above
        middle += 1 - above
    for position in range(others):
        rows[middle + position] = spare[position]
    return middle
