"""The header of a NIfTI-1 file: whether the file is whole, and whether it says where its voxels lie.

Layout and transforms: the NIfTI-1 header, nifti1.h (NIH, 2007). SimpleITK takes what a cut file lacks, and every NaN,
for 0 without a word, so length, checksum and values are looked at here.
"""

from __future__ import annotations

import gzip
import itertools
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Never, cast

import numpy as np
from numpy.typing import NDArray

from vmat_rt.errors import InputError, Problem

_SIZE: Final = 348
_CHUNK: Final = 1 << 22  # whole voxels of every type
_FARTHEST: Final = 1 << 24
_REAL: Final = {16: "f4", 64: "f8"}
"""datatype of real voxels. Complex ones are not read at all."""
_AGREE_MM: Final = 0.5
VOXEL_LIMIT: Final = 500_000_000
"""More than twice a CT of 1000 slices of 512 x 512."""
COPY_AGAIN: Final = "Copy or export it again."


@dataclass(frozen=True)
class NiftiHeader:
    """dim: the sizes (x, y, z, ...). real: the type of voxels that may be NaN, None for whole numbers. offset: of the
    first voxel, bytes. qform, sform: (3, 4) voxel -> RAS mm, None where the code is 0.
    """

    dim: tuple[int, ...]
    real: np.dtype[np.floating] | None
    offset: int
    bytes_expected: int
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None


def check_nifti(path: Path) -> None:
    """Raise InputError unless the file is whole, of a bearable size, finite, and places its voxels in one way."""
    try:
        with _open(path) as file:
            header = _parse_header(file.read(_SIZE), path)
            require_size(path, header.dim)
            length, strange = _pass_through(file, header)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(report_unreadable(path, "is damaged or cut short")) from error
    if length < header.bytes_expected:
        message = f"holds {length} of {header.bytes_expected} bytes, so it was cut short"
        raise InputError(report_unreadable(path, message))
    if strange:
        raise InputError(report_not_finite(path, strange))
    _require_place(path, header)


def require_size(path: Path, dim: tuple[int, ...]) -> None:
    """Raise InputError (IMAGE_TOO_LARGE) before anything so large is decoded."""
    if min(dim, default=0) < 1:
        raise InputError(report_unreadable(path, f"has an axis without voxels: {dim}"))
    if math.prod(dim) > VOXEL_LIMIT:
        claimed = " x ".join(map(str, dim))
        message = f"The file {path.name!r} claims {claimed} voxels; {VOXEL_LIMIT} are the most that is read."
        raise InputError(Problem("IMAGE_TOO_LARGE", message, "Crop the image to the patient, or use coarser voxels."))


def report_unreadable(path: Path, fault: str) -> Problem:
    """The problem of a file that cannot be read; `fault` goes on after its name."""
    return Problem("IMAGE_UNREADABLE", f"The file {path.name!r} {fault}.", COPY_AGAIN)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def report_not_finite(path: Path, count: int) -> Problem:
    """The problem of a file in which so many values are NaN or infinite."""
    message = f"The file {path.name!r} holds {count} values that are NaN or infinite."
    remedy = "Write it again with what they stand for: air is -1000 HU, no dose 0 Gy, and not in a structure 0."
    return Problem("VALUES_NOT_FINITE", message, remedy)


def _pass_through(file: BinaryIO, header: NiftiHeader) -> tuple[int, int]:
    """Bytes to the end, by which a gzip stream also checks itself, and values that are not finite.

    Of a stream that goes on behind the voxels, not much more than those is read.
    """
    length, strange = _SIZE + len(file.read(header.offset - _SIZE)), 0
    while length <= header.bytes_expected + _CHUNK:
        chunk = file.read(_CHUNK)
        if not chunk:
            break
        if header.real is not None:
            voxels = chunk[: max(0, header.bytes_expected - length)]
            whole = len(voxels) // header.real.itemsize * header.real.itemsize
            strange += int(np.count_nonzero(~np.isfinite(np.frombuffer(voxels[:whole], header.real))))
        length += len(chunk)
    return length, strange


def _parse_header(raw: bytes, path: Path) -> NiftiHeader:
    order = next((o for o in "<>" if len(raw) == _SIZE and struct.unpack_from(f"{o}i", raw)[0] == _SIZE), None)
    if order is None or raw[344:347] != b"n+1":
        raise InputError(report_unreadable(path, "is not a NIfTI-1 file in one piece (.nii or .nii.gz)"))
    rank, *sizes = struct.unpack_from(f"{order}8h", raw, 40)
    kind, bits = struct.unpack_from(f"{order}2h", raw, 70)
    pixdim = struct.unpack_from(f"{order}8f", raw, 76)
    offset = struct.unpack_from(f"{order}f", raw, 108)[0]
    if not 1 <= rank <= 7 or bits < 1 or not _SIZE <= offset < _FARTHEST:
        raise InputError(report_unreadable(path, "has a header that describes no image"))
    dim = tuple(sizes[:rank])
    q_code, s_code = struct.unpack_from(f"{order}2h", raw, 252)
    quaternion = struct.unpack_from(f"{order}6f", raw, 256)
    rows = np.array(struct.unpack_from(f"{order}12f", raw, 280), np.float64).reshape(3, 4)
    expected = int(offset) + math.prod(max(size, 0) for size in dim) * bits // 8
    qform = _convert_quaternion(quaternion, pixdim) if q_code > 0 else None
    real = np.dtype(f"{order}{_REAL[kind]}") if kind in _REAL else None
    return NiftiHeader(dim, real, int(offset), expected, qform, rows if s_code > 0 else None)


def _convert_quaternion(values: tuple[float, ...], pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    """Rotation, voxel size and offset -> (3, 4), method 2 of nifti1.h."""
    b, c, d = values[:3]
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.array(pixdim[1:4]) * (1, 1, -1 if pixdim[0] < 0 else 1)
    return np.column_stack((rotation * sizes, values[3:]))


def _require_place(path: Path, header: NiftiHeader) -> None:
    if header.qform is None and header.sform is None:
        message = f"The file {path.name!r} does not say how it lies in the patient (qform and sform codes are 0)."
        remedy = "Write it again with its orientation, by the program that knows it."
        _refuse("IMAGE_NO_ORIENTATION", message, remedy)
    if header.qform is None or header.sform is None:
        return
    corners = np.array(
        [(*corner, 1) for corner in itertools.product(*((0, n - 1) for n in _require_three_axes(header.dim)))]
    )
    apart = float(np.linalg.norm(corners @ (header.qform - header.sform).T, axis=1).max())
    if not apart <= _AGREE_MM:
        message = f"The qform and sform of the file {path.name!r} place its corners up to {apart:.1f} mm apart."
        _refuse("IMAGE_NO_ORIENTATION", message, "Write it again with one orientation.")


def _require_three_axes(dim: tuple[int, ...]) -> tuple[int, ...]:
    return (*dim, 1, 1)[:3]


def _refuse(code: str, message: str, remedy: str) -> Never:
    raise InputError(Problem(code, message, remedy))
