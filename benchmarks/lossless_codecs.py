"""Lossless codecs of well-kept libraries, each as a side that packs whole numbers of 16 bits (z, y, x).

plain    the numbers as they are
z        each slice less the one before it; z x, z y x: the same along these axes too (z y x is Lorenzo's predictor)
planes   zig-zag coded, all low bytes, then all high bytes
image    slices one above the other as one grey picture of 16 bits
"""

from __future__ import annotations

import bz2
import importlib.util
import io
import lzma
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Steps = NDArray[np.uint16]
Pack = Callable[[Steps], bytes]
Unpack = Callable[[bytes, tuple[int, ...]], Steps]


@dataclass(frozen=True)
class Side:
    """One codec. unpack takes the bytes and the shape (z, y, x)."""

    name: str
    package: str
    pack: Pack
    unpack: Unpack


def take_differences(steps: Steps, axes: tuple[int, ...]) -> Steps:
    """Modulo 2^16, so that none is lost."""
    for axis in axes:
        steps = np.diff(steps, axis=axis, prepend=np.uint16(0))
    return steps


def take_sums(rest: Steps, axes: tuple[int, ...]) -> Steps:
    for axis in reversed(axes):
        rest = np.cumsum(rest, axis=axis, dtype=np.uint16)
    return rest


def to_planes(rest: Steps) -> bytes:
    signed = rest.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint8)
    return folded.reshape(-1, 2).T.tobytes()


def from_planes(packed: bytes, shape: tuple[int, ...]) -> Steps:
    folded = np.ascontiguousarray(np.frombuffer(packed, np.uint8).reshape(2, -1).T).view(np.uint16)
    unfolded: Steps = ((folded >> 1) ^ -(folded & 1)).reshape(shape)
    return unfolded


def make_differenced(side: Side, axes: tuple[int, ...], half: int = 0) -> Side:
    """The side on differences; half is added to them for codecs that take pictures, where black is not the middle."""
    name = f"{side.name}, {' '.join('zyx'[axis] for axis in axes)}"
    return Side(
        name,
        side.package,
        lambda steps: side.pack(take_differences(steps, axes) + np.uint16(half)),
        lambda packed, shape: take_sums(side.unpack(packed, shape) - np.uint16(half), axes),
    )


def make_byte_sides(
    name: str, package: str, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]
) -> list[Side]:
    """A coder of bytes: on the steps as they are, on their byte planes, and on those of differences."""
    plain = Side(
        f"{name}, plain",
        package,
        lambda steps: pack(steps.tobytes()),
        lambda packed, shape: np.frombuffer(unpack(packed), np.uint16).reshape(shape),
    )
    planes = Side(
        f"{name}, planes",
        package,
        lambda steps: pack(to_planes(steps)),
        lambda packed, shape: from_planes(unpack(packed), shape),
    )
    return [plain, planes, *(make_differenced(planes, axes) for axes in ((0,), (0, 2), (0, 1, 2)))]


def make_picture_sides(
    name: str, package: str, pack: Callable[[Any], bytes], unpack: Callable[[bytes], Any]
) -> list[Side]:
    """A coder of grey pictures: on the slices one above the other, and on the differences of slices."""
    image = Side(
        f"{name}, image",
        package,
        lambda steps: pack(steps.reshape(-1, steps.shape[2])),
        lambda packed, shape: np.asarray(unpack(packed), np.uint16).reshape(shape),
    )
    return [image, make_differenced(image, (0,), 1 << 15)]


def make_standard_sides() -> Iterator[Side]:
    extreme = 9 | lzma.PRESET_EXTREME
    yield from make_byte_sides("xz 6", "lzma", partial(lzma.compress, preset=6), lzma.decompress)
    yield from make_byte_sides("xz 9e", "lzma", partial(lzma.compress, preset=extreme), lzma.decompress)
    yield make_byte_sides("bzip2 9", "bz2", bz2.compress, bz2.decompress)[3]
    yield make_picture_sides("PNG (Pillow)", "PIL", _encode_png, lambda packed: Image.open(io.BytesIO(packed)))[0]


def _encode_png(picture: Steps) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def make_zstd_sides() -> Iterator[Side]:
    import zstandard

    for level in (3, 19):
        packer = zstandard.ZstdCompressor(level=level)
        yield from make_byte_sides(
            f"zstd {level}", "zstandard", packer.compress, zstandard.ZstdDecompressor().decompress
        )


def make_blosc_sides() -> Iterator[Side]:
    import blosc2
    from blosc2 import Codec, Filter

    def side(codec: Codec, level: int, filters: list[Filter]) -> Side:
        settings = {"codec": codec, "clevel": level, "filters": filters, "typesize": 2, "nthreads": 1}
        name = f"blosc2 {codec.name} {level} {' + '.join(each.name for each in filters)}, plain"
        return Side(
            name.lower(),
            "blosc2",
            lambda steps: bytes(blosc2.compress2(steps, **settings)),
            lambda packed, shape: np.frombuffer(blosc2.decompress2(packed), np.uint16).reshape(shape),
        )

    for filters in ([Filter.SHUFFLE], [Filter.BITSHUFFLE], [Filter.DELTA, Filter.BITSHUFFLE]):
        yield side(Codec.ZSTD, 9, filters)
    yield side(Codec.ZSTD, 5, [Filter.BITSHUFFLE])
    yield side(Codec.LZ4HC, 9, [Filter.BITSHUFFLE])
    yield side(Codec.ZLIB, 9, [Filter.SHUFFLE])
    for filters in ([Filter.SHUFFLE], [Filter.BITSHUFFLE]):
        yield make_differenced(side(Codec.ZSTD, 9, filters), (0, 2))


def make_jpegls_sides() -> Iterator[Side]:
    import jpeg_ls

    def encode(picture: Steps) -> bytes:
        return bytes(jpeg_ls.encode_array(picture))

    return iter(
        make_picture_sides(
            "JPEG-LS (pyjpegls)", "pyjpegls", encode, lambda packed: jpeg_ls.decode(np.frombuffer(packed, np.uint8))
        )
    )


def make_imagecodecs_sides() -> Iterator[Side]:
    import imagecodecs as ic

    def make_picture_pair(name: str, pack: Any, unpack: Any, **settings: Any) -> list[Side]:
        return make_picture_sides(f"{name} (imagecodecs)", "imagecodecs", partial(pack, **settings), unpack)

    for effort in (7, 9):
        yield from make_picture_pair(
            f"JPEG XL {effort}", ic.jpegxl_encode, ic.jpegxl_decode, lossless=True, effort=effort
        )
    yield from make_picture_pair("JPEG 2000", ic.jpeg2k_encode, ic.jpeg2k_decode, level=0, reversible=True)
    yield make_picture_pair("LERC", ic.lerc_encode, ic.lerc_decode, level=0)[0]
    yield make_byte_sides("brotli 11", "imagecodecs", partial(ic.brotli_encode, level=11), ic.brotli_decode)[3]
    yield Side(
        "CCSDS 121, plain",
        "imagecodecs",
        ic.aec_encode,
        lambda packed, shape: np.frombuffer(
            ic.aec_decode(packed, bitspersample=16, out=2 * int(np.prod(shape))), np.uint16
        ).reshape(shape),
    )


def make_pcodec_sides() -> Iterator[Side]:
    from pcodec import ChunkConfig, standalone

    plain = Side(
        "pcodec 12, plain",
        "pcodec",
        lambda steps: bytes(standalone.simple_compress(steps.ravel(), ChunkConfig(compression_level=12))),
        lambda packed, shape: np.asarray(standalone.simple_decompress(packed), np.uint16).reshape(shape),
    )
    yield from (plain, make_differenced(plain, (0, 2), 1 << 15))


def make_zfp_sides() -> Iterator[Side]:
    import zfpy

    yield Side(
        "zfp reversible, plain",
        "zfpy",
        lambda steps: bytes(zfpy.compress_numpy(steps.astype(np.int32))),
        lambda packed, shape: zfpy.decompress_numpy(packed).astype(np.uint16).reshape(shape),
    )


FAMILIES: dict[str, Callable[[], Iterator[Side]]] = {
    "lzma": make_standard_sides,
    "zstandard": make_zstd_sides,
    "blosc2": make_blosc_sides,
    "jpeg_ls": make_jpegls_sides,
    "imagecodecs": make_imagecodecs_sides,
    "pcodec": make_pcodec_sides,
    "zfpy": make_zfp_sides,
}


def collect_sides(only: str) -> list[Side]:
    found: list[Side] = []
    for package, family in FAMILIES.items():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out", file=sys.stderr)
        else:
            found += [side for side in family() if re.search(only, side.name)]
    return found
