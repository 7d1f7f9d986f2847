"""Compiled kernels of the dose engine in vmat_rt.phantom.delivery.engine; they release the interpreter lock.

A located point is a row of six numbers: its place (v, u) on the coarse planes, in nodes, v negative where this beam
does not reach it; the factor of the near plane; the factors of the three rest planes. Factors hold depth dose and
inverse square. Planes: coarse (v, u, 4), the last of the four components empty so that a node is one load of 16 bytes;
fine (v, u), `ratio` nodes to a coarse step, its first node at the coarse place `corner`.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import numpy as np
from numba import njit

_ONE = np.float32(1)
COMPONENTS = 3
LOCATED = 3 + COMPONENTS


@njit(cache=True, nogil=True)
def locate(seen, physics, planes):
    """Located points (n, 6) of one beam from `seen` (n, 4): v, u, s past the isocentre plane, water-equivalent depth.

    physics: source distance, attenuation, then build-up and delta share of each component. planes: place of the first
    coarse node (v, u) in steps, the step in mm, and how many nodes (v, u) are held.
    """
    sad, attenuation = physics[0], physics[1]
    out = np.zeros((seen.shape[0], LOCATED), np.float32)
    for n in range(seen.shape[0]):
        v, u, depth = seen[n, 0], seen[n, 1], seen[n, 3]
        out[n, 0] = -1
        place_v, place_u = v / planes[2] - planes[0], u / planes[2] - planes[1]
        if place_v < 0 or place_u < 0 or place_v >= planes[3] - 1.001 or place_u >= planes[4] - 1.001:
            continue
        nearness = sad / (sad + seen[n, 2])
        square = nearness * nearness / (1 + (v * v + u * u) / (sad * sad))
        primary = np.exp(-attenuation * depth)
        out[n, 0], out[n, 1] = place_v, place_u
        for c in range(COMPONENTS):
            build_up = physics[2 + c]
            factor = square * build_up / (build_up - attenuation) * (primary - np.exp(-build_up * depth))
            out[n, 3 + c] = factor
            out[n, 2] += factor * physics[2 + COMPONENTS + c]
    return out


@njit(cache=True, nogil=True)
def _find_nodes(v, u):
    """The lowest of the four nodes round a place, and the shares of (0, 0), (0, 1), (1, 0) and (1, 1)."""
    a, b = int(v), int(u)
    fv, fu = v - np.float32(a), u - np.float32(b)
    far = fv * fu
    w01, w10 = fu - far, fv - far
    return a, b, _ONE - fv - w01, w01, w10, far


@njit(cache=True, nogil=True)
def gather(located, coarse, fine, corner, ratio, dose):
    """Add to `dose` (points) what one beam's planes bring to its located points."""
    top, left = fine.shape[0] - 1, fine.shape[1] - 1
    for n in range(located.shape[0]):
        v, u = located[n, 0], located[n, 1]
        if v < 0:
            continue
        a, b, w00, w01, w10, far = _find_nodes(v, u)
        total = np.float32(0)
        for c in range(COMPONENTS):
            total += located[n, 3 + c] * (
                w00 * coarse[a, b, c]
                + w01 * coarse[a, b + 1, c]
                + w10 * coarse[a + 1, b, c]
                + far * coarse[a + 1, b + 1, c]
            )
        v, u = (v - corner[0]) * ratio, (u - corner[1]) * ratio
        if v >= 0 and u >= 0 and v < top and u < left:
            a, b = int(v), int(u)
            fv, fu = v - np.float32(a), u - np.float32(b)
            low = fine[a, b] + fu * (fine[a, b + 1] - fine[a, b])
            high = fine[a + 1, b] + fu * (fine[a + 1, b + 1] - fine[a + 1, b])
            total += located[n, 2] * (low + fv * (high - low))
        dose[n] += total


@njit(cache=True, nogil=True)
def scatter(located, values, corner, ratio, coarse, fine):
    """The transpose of `gather`: add each point's value to the nodes that it is made of."""
    top, left = fine.shape[0] - 1, fine.shape[1] - 1
    for n in range(located.shape[0]):
        v, u = located[n, 0], located[n, 1]
        if v < 0:
            continue
        a, b, w00, w01, w10, far = _find_nodes(v, u)
        for c in range(COMPONENTS):
            value = located[n, 3 + c] * values[n]
            coarse[a, b, c] += w00 * value
            coarse[a, b + 1, c] += w01 * value
            coarse[a + 1, b, c] += w10 * value
            coarse[a + 1, b + 1, c] += far * value
        v, u = (v - corner[0]) * ratio, (u - corner[1]) * ratio
        if v >= 0 and u >= 0 and v < top and u < left:
            a, b = int(v), int(u)
            fv, fu = v - np.float32(a), u - np.float32(b)
            far = fv * fu
            value = located[n, 2] * values[n]
            fine[a, b] += (_ONE - fv - fu + far) * value
            fine[a, b + 1] += (fu - far) * value
            fine[a + 1, b] += (fv - far) * value
            fine[a + 1, b + 1] += far * value
