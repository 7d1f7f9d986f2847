"""xz streams unpacked up to a limit: a few kilobytes can claim gigabytes."""

from __future__ import annotations

import lzma


def unpack_xz(data: bytes, most: int) -> bytes:
    """The content of one xz stream of at most `most` bytes, checked against its checksum.

    Raises ValueError for anything else: damaged, cut short, something behind it, or larger.
    """
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 30)
    try:
        content = stream.decompress(data, most + 1)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if len(content) > most:
        raise ValueError(f"they unpack to more than {most >> 20} MiB")
    if not stream.eof or stream.unused_data:
        raise ValueError("they end too soon or too late")
    return content
