"""The gamma search on the CPU: numba kernels over reference points, nearest cells first, with early exit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from vmat_rt.metrics.gamma.samples import SNAP, Field, Floats, Integers, Points, Samples, Search
from vmat_rt.system.cores import usable_cores

# Reordering is welcome (it lets the minimum run in SIMD lanes); infinities must keep their meaning.
_FAST = {"nnan", "nsz", "arcp", "contract", "reassoc"}
_CHUNK = 32
_POINTS_PER_TASK = 20_000
_ONE_CELL_ON = np.float32(1 - SNAP)


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _find_nearest_in_cell(field, corner, samples, cell, dose, scale, best):  # type: ignore[no-untyped-def]
    """Smallest squared gamma of the samples of one cell; the trilinear polynomial is set up once."""
    e, sz, sy = field.dose, field.stride_z, field.stride_y
    e000, e001 = e[corner], e[corner + 1]
    e010, e011 = e[corner + sy], e[corner + sy + 1]
    e100, e101 = e[corner + sz], e[corner + sz + 1]
    e110, e111 = e[corner + sz + sy], e[corner + sz + sy + 1]
    a0, az, ay, ax = e000 - dose, e100 - e000, e010 - e000, e001 - e000
    azy, azx, ayx = e110 - e100 - ay, e101 - e100 - ax, e011 - e010 - ax
    azyx = (e111 - e110) - (e101 - e100) - ayx
    start, stop = samples.first[cell], samples.first[cell + 1]
    while start < stop and samples.distance[start] < best:
        chunk = min(start + _CHUNK, stop)
        for s in range(start, chunk):
            u, v, w = samples.u[s], samples.v[s], samples.w[s]
            gap = a0 + u * (az + v * (azy + w * azyx) + w * azx) + v * (ay + w * ayx) + w * ax
            best = min(best, gap * gap * scale + samples.distance[s])
        start = chunk
    return best


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _find_nearest_near_cell(field, corner, samples, cell, phase, dose, scale, best):  # type: ignore[no-untyped-def]
    """The same for a point at `phase` of its own cell: each sample lies in this cell or the next, per axis."""
    e, sz, sy = field.dose, field.stride_z, field.stride_y
    zero, one = np.float32(0), np.float32(1)
    start, stop = samples.first[cell], samples.first[cell + 1]
    for s in range(start, stop):
        if samples.distance[s] >= best:
            break
        u, v, w, c = phase[0] + samples.u[s], phase[1] + samples.v[s], phase[2] + samples.w[s], corner
        if u >= _ONE_CELL_ON:
            u, c = max(u - one, zero), c + sz
        if v >= _ONE_CELL_ON:
            v, c = max(v - one, zero), c + sy
        if w >= _ONE_CELL_ON:
            w, c = max(w - one, zero), c + 1
        e00 = e[c] + w * (e[c + 1] - e[c])
        e01 = e[c + sy] + w * (e[c + sy + 1] - e[c + sy])
        e10 = e[c + sz] + w * (e[c + sz + 1] - e[c + sz])
        e11 = e[c + sz + sy] + w * (e[c + sz + sy + 1] - e[c + sz + sy])
        low, high = e00 + v * (e01 - e00), e10 + v * (e11 - e10)
        gap = low + u * (high - low) - dose
        best = min(best, gap * gap * scale + samples.distance[s])
    return best


@njit(cache=True, nogil=True, fastmath=_FAST)
def _search(points, field, samples, offsets, aligned, scale, local, cap, start, stop, squared):  # type: ignore[no-untyped-def]
    """Squared gamma, at most `cap`, of points start to stop; scale is 1 / (fractional dose criterion)^2."""
    for n in range(start, stop):
        flat = points.flat[n]
        x, rest = flat % points.columns, flat // points.columns
        y, z = rest % points.rows, rest // points.rows
        best = cap
        squared[n] = best
        if points.base_z[z] < 0 or points.base_y[y] < 0 or points.base_x[x] < 0:
            continue
        base = points.base_z[z] + points.base_y[y] + points.base_x[x]
        phase = (points.phase_z[z], points.phase_y[y], points.phase_x[x])
        dose = points.dose[flat]
        weight = scale / (dose * dose) if local else scale
        for cell in range(len(offsets)):
            near = samples.nearest[cell]
            if near >= best:
                break
            corner = base + offsets[cell]
            gap = max(field.low[corner] - dose, dose - field.high[corner], np.float32(0))
            if near + gap * gap * weight >= best:
                continue
            if aligned:
                best = _find_nearest_in_cell(field, corner, samples, cell, dose, weight, best)
            else:
                best = _find_nearest_near_cell(field, corner, samples, cell, phase, dose, weight, best)
        squared[n] = best


def search_on_cpu(search: Search, dose_fraction: float, local: bool, max_gamma: float) -> Floats:
    """Gamma, at most max_gamma, at each of search.points.flat; threads share the points where there are many."""
    points: Points = search.points
    field: Field = search.field
    samples: Samples = search.samples
    offsets: Integers = search.cell_offsets
    count = len(points.flat)
    squared = np.empty(count, np.float32)
    scale, cap = np.float32(1 / dose_fraction**2), np.float32(max_gamma**2)

    def search_from(start: int) -> None:
        stop = min(start + _POINTS_PER_TASK, count)
        _search(points, field, samples, offsets, search.aligned, scale, local, cap, start, stop, squared)

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(search_from, range(0, count, _POINTS_PER_TASK)))
    return np.sqrt(squared)
