"""What is packed is unpacked whole, or refused; a bomb costs no memory."""

from __future__ import annotations

import lzma
import tracemalloc

import pytest

from vmat_rt.system.unpack import unpack_xz


def test_a_stream_up_to_the_limit_is_unpacked() -> None:
    assert unpack_xz(lzma.compress(bytes(1000)), 1000) == bytes(1000)


def test_a_stream_that_unpacks_to_more_is_refused_without_unpacking_it() -> None:
    bomb = lzma.compress(bytes(64 << 20))
    assert len(bomb) < 20_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1 MiB"):
        unpack_xz(bomb, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b + b"x", lambda b: b"no" + b, lambda _b: b""])
def test_what_is_not_one_whole_stream_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"."):
        unpack_xz(damage(lzma.compress(b"content" * 100)), 1 << 20)
