"""The patient's outline from CT alone, for studies without an External contour.

Everything denser than -300 HU is patient, couch or device. On a grid of about 3 mm in the plane thin things (couch
shells, masks, blankets) are opened away, the largest connected object is kept (and any other of similar size: two
legs) and air inside it is filled slice by slice. Back on the CT's own pixels the outline follows the CT within one
coarse pixel of that object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vmat_rt.case import FloatArray, Volume
from vmat_rt.errors import InputError, Problem

Mask = NDArray[np.bool_]
Pair = tuple[int, int]

THRESHOLD_HU = -300.0
"""Between lung or air and fat, and above the foam of couches and head rests."""

_COARSE_MM = 3.0
_THIN_MM = 9.0
"""What is thinner than this in the plane is not part of a body: couch shells are 2 to 5 mm thick."""

_SIMILAR = 0.4
"""A second object counts as patient from this share of the largest one's volume: a leg does, a couch top does not."""

_ENCLOSED = 0.7
"""Share of a hole's border that must be patient: about 1 for lung, half for air under a mask, little for couch foam."""

_SMALLEST_CC = 50.0

_IN_PLANE = np.zeros((3, 3, 3), np.bool_)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def find_body(ct: Volume) -> Volume:
    """The body on the CT's grid, as fractions 0 or 1, float32 (z, y, x). ct in HU.

    Parts of the scan blanked to -1000 HU or below count as air. A solid couch top thicker than 9 mm that touches the
    patient is kept: contour such a patient. Raises InputError (NO_BODY) when nothing of at least 50 cc is dense enough.
    """
    _, sy, sx = ct.grid.spacing_mm
    blocks = (max(1, round(_COARSE_MM / sy)), max(1, round(_COARSE_MM / sx)))
    pixel_mm = (sy * blocks[0], sx * blocks[1])
    # The middle pixel of each block: cheaper than its mean, and noise is far below the step at the skin.
    dense = np.ascontiguousarray(ct.array[:, blocks[0] // 2 :: blocks[0], blocks[1] // 2 :: blocks[1]] > THRESHOLD_HU)
    body = _find_patient(dense, pixel_mm)
    volume_cc = float(np.count_nonzero(body)) * ct.grid.spacing_mm[0] * pixel_mm[0] * pixel_mm[1] / 1000.0
    if volume_cc < _SMALLEST_CC:
        raise InputError(
            Problem(
                "NO_BODY",
                f"No body was found in the CT: the largest object above {THRESHOLD_HU:.0f} HU has {volume_cc:.1f} cc.",
                "Contour the patient's outline (External), or check that the CT holds Hounsfield units.",
            )
        )
    return Volume(ct.grid, _refine(body, ct.array, blocks))


def _find_patient(dense: Mask, pixel_mm: tuple[float, float]) -> Mask:
    """The large objects without thin attachments, the air inside them filled slice by slice."""
    disc = _make_disc(_THIN_MM / 2, pixel_mm)[None]
    core = _find_large_objects(ndimage.binary_opening(dense, disc))
    # Lungs behind a thin chest wall are filled first, or opening would break the wall; the foam of a couch is not.
    solid = dense | _find_holes(core, dense)
    core = _find_large_objects(ndimage.binary_opening(solid, disc))
    # What opening rounded off (nose, fingers) comes back as far as the disc reaches.
    near = ndimage.binary_dilation(core, disc)
    return _fill_holes(core | (solid & near))


def _find_holes(core: Mask, dense: Mask) -> Mask:
    """The air that dense things enclose in a slice, where most of what encloses it is core."""
    holes, count = ndimage.label(_fill_holes(dense) & ~dense, _IN_PLANE)
    along_core, along_any = (
        np.bincount(holes[ndimage.binary_dilation(mask, _IN_PLANE)], minlength=count + 1) for mask in (core, dense)
    )
    enclosed = along_core >= _ENCLOSED * np.maximum(along_any, 1)
    enclosed[0] = False
    return np.asarray(enclosed[holes])


def _make_disc(radius_mm: float, pixel_mm: tuple[float, float]) -> Mask:
    half = [max(1, int(radius_mm / size)) for size in pixel_mm]
    y, x = np.ogrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
    return np.asarray((y * pixel_mm[0]) ** 2 + (x * pixel_mm[1]) ** 2 <= max(radius_mm, *pixel_mm) ** 2 * 1.0001)


def _find_large_objects(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _SIMILAR * sizes.max())[labels])


def _fill_holes(mask: Mask) -> Mask:
    """The mask with the holes of each slice: background that reaches no edge of its slice."""
    labels, count = ndimage.label(~mask, _IN_PLANE)
    open_air = np.zeros(count + 1, np.bool_)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        open_air[edge.ravel()] = True
    return np.asarray(mask | ~open_air[labels])


def _refine(body: Mask, array: FloatArray, blocks: Pair) -> FloatArray:
    """The coarse body on full pixels: all of its interior, and within one coarse pixel of its edge what is dense."""
    ring = ndimage.generate_binary_structure(2, 2)[None]
    interior = ndimage.binary_erosion(body, ring, border_value=1)
    reach = ndimage.binary_dilation(body, ring)
    # 2 inside, 1 near the edge, 0 outside, looked up block by block.
    zone = interior.astype(np.uint8) + reach
    row, column = (
        np.minimum(np.arange(n) // block, m - 1)
        for n, block, m in zip(array.shape[1:], blocks, body.shape[1:], strict=True)
    )
    result = np.empty(array.shape, np.float32)
    for k, coarse in enumerate(zone):
        fine = coarse[row][:, column]
        result[k] = (fine == 2) | ((fine == 1) & (array[k] > THRESHOLD_HU))
    return result
