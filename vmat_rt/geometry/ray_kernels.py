"""Compiled kernels of the ray geometry in vmat_rt.geometry.rays; they release the interpreter lock.

They share one file with the constants they compile in, because numba's cache on disk watches only the file of the
function itself: a change here renews them all.

Arguments: points (n, 3) as (z, y, x) mm; direction (sine, cosine) of the gantry angle; centre the isocentre (z, y, x);
view (start v, start u, step v, step u) and shape of the views; start (v, u, s) of the depth tables, all mm.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import numpy as np
from numba import njit

SAD_MM = 1000.0
ATTENUATION_PER_MM = 0.0042
"""Of 6 MV in water, between the fall of a 10 cm field's tissue-maximum ratio (0.003-0.004) and the primary's 0.0049."""

DEPTH_STEP_MM = 5.0


@njit(cache=True, nogil=True)
def sample(volume, z, y, x):
    """Trilinear value at fractional indices; z is held at the ends, outside in y and x there is nothing."""
    nz, ny, nx = volume.shape
    if y <= -1 or x <= -1 or y >= ny or x >= nx:
        return 0.0
    z = min(max(z, 0.0), nz - 1.0)
    k, j, i = int(z), int(np.floor(y)), int(np.floor(x))
    fz, fy, fx = z - k, y - j, x - i
    total = 0.0
    for dk in range(2):
        wz = fz if dk else 1 - fz
        if wz == 0:
            continue
        for dj in range(2):
            row = j + dj
            if row < 0 or row >= ny:
                continue
            wy = fy if dj else 1 - fy
            if i >= 0:
                total += wz * wy * (1 - fx) * volume[k + dk, row, i]
            if i + 1 < nx:
                total += wz * wy * fx * volume[k + dk, row, i + 1]
    return total


@njit(cache=True, nogil=True)
def sum_depths(density, origin_spacing, direction, centre, start, shape):
    """Midpoint sums of the density along each ray, two samples per step."""
    sine, cosine = direction
    out = np.zeros(shape, np.float32)
    for a in range(shape[0]):
        v = start[0] + a * DEPTH_STEP_MM
        for b in range(shape[1]):
            u = start[1] + b * DEPTH_STEP_MM
            piece = np.sqrt(1 + (u * u + v * v) / SAD_MM**2) * DEPTH_STEP_MM / 2
            depth = 0.0
            for c in range(1, shape[2]):
                for quarter in (0.75, 0.25):
                    s = start[2] + (c - quarter) * DEPTH_STEP_MM
                    scale = (SAD_MM + s) / SAD_MM
                    z = (centre[0] + v * scale - origin_spacing[0]) / origin_spacing[3]
                    y = (centre[1] + u * scale * sine + s * cosine - origin_spacing[1]) / origin_spacing[4]
                    x = (centre[2] + u * scale * cosine - s * sine - origin_spacing[2]) / origin_spacing[5]
                    depth += sample(density, z, y, x) * piece
                out[a, b, c] = depth
    return out


@njit(cache=True, nogil=True)
def project_target(points, volume, direction, centre, view, shape):
    """Spread each voxel over the four nearest rays; its volume seen from the isocentre plane grows by scale**-2."""
    sine, cosine = direction
    out = np.zeros(shape, np.float32)
    for n in range(points.shape[0]):
        dz, dy, dx = points[n, 0] - centre[0], points[n, 1] - centre[1], points[n, 2] - centre[2]
        scale = SAD_MM / (SAD_MM + dy * cosine - dx * sine)
        fv = (dz * scale - view[0]) / view[2]
        fu = ((dx * cosine + dy * sine) * scale - view[1]) / view[3]
        a, b = int(fv), int(fu)
        fv -= a
        fu -= b
        length = volume[n] * scale * scale / (view[2] * view[3])
        out[a, b] += length * (1 - fv) * (1 - fu)
        out[a, b + 1] += length * (1 - fv) * fu
        out[a + 1, b] += length * fv * (1 - fu)
        out[a + 1, b + 1] += length * fv * fu
    return out


@njit(cache=True, nogil=True)
def find_ray(point, sine, cosine, centre):
    """(v, u, s) in mm of one point (z, y, x), and the inverse-square factor relative to the isocentre plane."""
    dz, dy, dx = point[0] - centre[0], point[1] - centre[1], point[2] - centre[2]
    s = dy * cosine - dx * sine
    scale = SAD_MM / (SAD_MM + s)
    return dz * scale, (dx * cosine + dy * sine) * scale, s, scale * scale


@njit(cache=True, nogil=True)
def look_up_depth(table, start, v, u, s):
    """Trilinear water-equivalent depth, mm."""
    fv, fu, fs = (v - start[0]) / DEPTH_STEP_MM, (u - start[1]) / DEPTH_STEP_MM, (s - start[2]) / DEPTH_STEP_MM
    a, b, c = int(fv), int(fu), int(fs)
    fv, fu, fs = fv - a, fu - b, fs - c
    near = (1 - fu) * table[a, b, c] + fu * table[a, b + 1, c]
    far = (1 - fu) * table[a, b, c + 1] + fu * table[a, b + 1, c + 1]
    low = near + fs * (far - near)
    near = (1 - fu) * table[a + 1, b, c] + fu * table[a + 1, b + 1, c]
    far = (1 - fu) * table[a + 1, b, c + 1] + fu * table[a + 1, b + 1, c + 1]
    return low + fv * (near + fs * (far - near) - low)


@njit(cache=True, nogil=True)
def look_at_points(points, direction, centre, start, table):
    """(v, u, s, water-equivalent depth) in mm of points anywhere; the table is held at its faces, outside matter.

    No ray leads to points beside or behind the source: their v is infinite.
    """
    sine, cosine = direction
    out = np.zeros((points.shape[0], 4), np.float32)
    end_v, end_u, end_s = (
        start[0] + (table.shape[0] - 1.001) * DEPTH_STEP_MM,
        start[1] + (table.shape[1] - 1.001) * DEPTH_STEP_MM,
        start[2] + (table.shape[2] - 1.001) * DEPTH_STEP_MM,
    )
    for n in range(points.shape[0]):
        if (points[n, 1] - centre[1]) * cosine - (points[n, 2] - centre[2]) * sine < 1 - SAD_MM:
            out[n, 0] = np.inf
            continue
        v, u, s, _ = find_ray(points[n], sine, cosine, centre)
        held_v, held_u = min(max(v, start[0]), end_v), min(max(u, start[1]), end_u)
        depth = look_up_depth(table, start, held_v, held_u, min(max(s, start[2]), end_s))
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = v, u, s, depth
    return out


@njit(cache=True, nogil=True)
def find_cell(v, u, view, shape):
    """First cell (v, u) and fractions of a ray in the views; the cell is -1 where the ray leaves the table."""
    fv, fu = (v - view[0]) / view[2], (u - view[1]) / view[3]
    a, b = int(np.floor(fv)), int(np.floor(fu))
    if a < 0 or b < 0 or a + 1 >= shape[0] or b + 1 >= shape[1]:
        return -1, -1, 0.0, 0.0
    return a, b, fv - a, fu - b


@njit(cache=True, nogil=True)
def gather_beams(points, directions, centre, view, start, depths, planes, attenuated, out):
    beams, kinds = planes.shape[:2]
    for m in range(beams):
        sine, cosine = directions[m]
        table = depths[m]
        for n in range(points.shape[0]):
            v, u, s, near = find_ray(points[n], sine, cosine, centre)
            factor = near * np.exp(-ATTENUATION_PER_MM * look_up_depth(table, start, v, u, s)) / beams
            out[kinds, n] += factor
            a, b, fv, fu = find_cell(v, u, view, planes.shape[2:])
            if a < 0:
                continue
            for k in range(kinds):
                plane = planes[m, k]
                low = plane[a, b] + fu * (plane[a, b + 1] - plane[a, b])
                high = plane[a + 1, b] + fu * (plane[a + 1, b + 1] - plane[a + 1, b])
                out[k, n] += (low + fv * (high - low)) * (factor if k < attenuated else 1 / beams)


@njit(cache=True, nogil=True)
def locate_rays(points, direction, centre, view, shape, start, table, cell, between, factor):
    sine, cosine = direction
    for n in range(points.shape[0]):
        v, u, s, near = find_ray(points[n], sine, cosine, centre)
        a, b, fv, fu = find_cell(v, u, view, shape)
        if a < 0:
            continue  # the factor stays zero: this beam cannot reach the point
        cell[n] = a * shape[1] + b
        between[n, 0], between[n, 1] = fv, fu
        factor[n] = near * np.exp(-ATTENUATION_PER_MM * look_up_depth(table, start, v, u, s))


@njit(cache=True, nogil=True)
def sum_dose_at_points(plane, width, cell, between, factor):
    out = np.zeros(cell.size, np.float32)
    for n in range(cell.size):
        i, fv, fu = cell[n], between[n, 0], between[n, 1]
        low = plane[i] + fu * (plane[i + 1] - plane[i])
        high = plane[i + width] + fu * (plane[i + width + 1] - plane[i + width])
        out[n] = factor[n] * (low + fv * (high - low))
    return out


@njit(cache=True, nogil=True)
def spread_on_rays(values, size, width, cell, between, factor):
    out = np.zeros(size, np.float32)
    for n in range(cell.size):
        value = factor[n] * values[n]
        i, fv, fu = cell[n], between[n, 0], between[n, 1]
        out[i] += value * (1 - fv) * (1 - fu)
        out[i + 1] += value * (1 - fv) * fu
        out[i + width] += value * fv * (1 - fu)
        out[i + width + 1] += value * fv * fu
    return out
