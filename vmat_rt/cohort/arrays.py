"""The arrays of one case in a cohort: zarr v3, small integers, readable in part.

    ct          int16 (z, y, x)         whole HU
    structures  uint8 (n, z, y, x)      area fractions in units of 1/255; a chunk holds all planes
    dose        uint16 (z, y, x)        units of 0.002 Gy (uint32 above 131 Gy); absent where the case has no dose

Chunks are equal pieces of at most 80 voxels along an axis, bytes shuffled, zstd, CRC-32C. Smaller chunks cost zarr's
time for each, larger ones are read for little; shuffling bits packs no better here and takes three times as long to
undo (benchmarks/store.py compares with .npz). Every chunk is written, so one that is absent is damage, not zeros.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.cohort.place import Place
from vmat_rt.cohort.record import Sha256, StructureName
from vmat_rt.errors import InputError, Problem
from vmat_rt.geometry.gridded import DOSE_STEP_GY, LEVELS, convert_levels, convert_steps, count_dose_steps
from vmat_rt.grid import Grid, Shape, Triple
from vmat_rt.strict import Strict, reason

LONGEST_CHUNK: Final = 80
_LAYOUT: Final = "vmat_rt"
_UNITS: Final[dict[str, dict[str, Any]]] = {
    "ct": {"unit": "HU"},
    "structures": {"unit": 1 / LEVELS},
    "dose": {"unit": "Gy", "step": DOSE_STEP_GY},
}


class ArrayLayout(Strict):
    """What stands in the attributes of a case's zarr group. names are those of the planes of `structures`.

    body is the plane that holds the body: a structure's, or one more at the end. sha256 by array, of its values.
    """

    shape: Shape
    spacing_mm: Triple
    origin_mm: Triple
    names: tuple[StructureName, ...]
    body: int = Field(ge=0)
    body_name: StructureName
    sha256: dict[str, Sha256]

    def grid(self, key: str) -> Grid:
        """The case's grid, in a frame of reference of its own."""
        return Grid(self.shape, self.spacing_mm, self.origin_mm, f"cohort:{key}")


@dataclass(frozen=True)
class Patch:
    """Part of a case, or all of it: integers as stored, and what they mean on demand. All (z, y, x).

    hu: int16. levels: uint8 (plane, z, y, x), `names` and perhaps the body. steps: of dose, or None.
    """

    grid: Grid
    hu: NDArray[np.int16]
    levels: NDArray[np.uint8]
    steps: NDArray[np.unsignedinteger[Any]] | None
    names: tuple[str, ...]
    body_plane: int

    @property
    def ct(self) -> FloatArray:
        """HU, float32."""
        return self.hu.astype(np.float32)

    @property
    def dose(self) -> FloatArray | None:
        """Gy in total, float32."""
        return None if self.steps is None else convert_steps(self.steps)

    def fraction(self, name: str) -> FloatArray:
        """Area fraction of a structure, float32. Raises KeyError for one that the case lacks."""
        if name not in self.names:
            raise KeyError(name)
        return convert_levels(self.levels[self.names.index(name)])

    @property
    def body(self) -> FloatArray:
        """Area fraction of the body, float32."""
        return convert_levels(self.levels[self.body_plane])


@dataclass(frozen=True)
class LazyArray:
    """An array of a case that is read where it is indexed: float32 (z, y, x) in HU, Gy or as a fraction."""

    arrays: CaseArrays
    name: str
    plane: int | None = None

    @property
    def shape(self) -> Shape:
        return self.arrays.layout.shape

    def __getitem__(self, index: Any) -> FloatArray:
        """Basic indexing. Raises InputError (CASE_DAMAGED)."""
        index = index if isinstance(index, tuple) else (index,)
        values = self.arrays.raw(self.name, index if self.plane is None else (self.plane, *index))
        if self.name == "dose":
            return convert_steps(values)
        return convert_levels(values) if self.name == "structures" else values.astype(np.float32)


class CaseArrays:
    """The arrays of one case, opened when first read. Raises InputError (CASE_DAMAGED) that names the case."""

    def __init__(self, place: Place, key: str) -> None:
        self.key = key
        self._store = _Whole(place.store(read_only=True))
        with name_damage(key, "the description of its arrays"):
            group = zarr.open_group(self._store, mode="r", zarr_format=3, use_consolidated=False)
            self.layout = ArrayLayout.model_validate_json(json.dumps(group.attrs[_LAYOUT]))
        self._opened: dict[str, zarr.Array[Any]] = {}

    @cached_property
    def grid(self) -> Grid:
        return self.layout.grid(self.key)

    @property
    def ct(self) -> LazyArray:
        """HU."""
        return LazyArray(self, "ct")

    @property
    def dose(self) -> LazyArray | None:
        """Gy in total; None where the case has no dose."""
        return LazyArray(self, "dose") if "dose" in self.layout.sha256 else None

    @property
    def structures(self) -> Mapping[str, LazyArray]:
        """Area fractions by TG-263 name. All planes lie in one chunk: for several, `read` is faster."""
        return {name: LazyArray(self, "structures", plane) for plane, name in enumerate(self.layout.names)}

    @property
    def body(self) -> LazyArray:
        """Area fraction of the body."""
        return LazyArray(self, "structures", self.layout.body)

    def raw(self, name: str, index: tuple[Any, ...]) -> NDArray[Any]:
        """The integers of "ct", "structures" or "dose" as they are stored."""
        with name_damage(self.key, f"the array {name}"):
            if name not in self._opened:
                self._opened[name] = zarr.open_array(self._store, path=name, mode="r", zarr_format=3)
            return np.asarray(self._opened[name][index])

    def read(self, start: Shape | None = None, stop: Shape | None = None) -> Patch:
        """Read from voxel `start` (inclusive) to `stop` (exclusive), (z, y, x); all of it by default.

        Raises ValueError when that is empty or reaches beyond the grid.
        """
        start, stop = start or (0, 0, 0), stop or self.layout.shape
        if any(not 0 <= a < b <= n for a, b, n in zip(start, stop, self.layout.shape, strict=True)):
            raise ValueError(f"a patch from {start} to {stop} is not within {self.layout.shape} voxels")
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return Patch(
            grid=self.grid.crop(start, stop),
            hu=self.raw("ct", box),
            levels=self.raw("structures", (slice(None), *box)),
            steps=None if self.dose is None else self.raw("dose", box),
            names=self.layout.names,
            body_plane=self.layout.body,
        )

    def changed(self, whole: Patch) -> tuple[str, ...]:
        """The arrays of this case, read whole, whose values are not those that were written."""
        hashes = {name: hash_array(values) for name, values in _collect_arrays(whole).items()}
        return tuple(name for name, sha256 in self.layout.sha256.items() if hashes.get(name) != sha256)


class _Whole(WrapperStore[Store]):
    """A store in which an absent chunk is an error: zarr would take it for zeros."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        chunk = await self._store.get(key, prototype, byte_range)
        if chunk is None and "/c/" in key:
            raise FileNotFoundError("a chunk is absent")
        return chunk


def write_arrays(place: Place, case: Case) -> ArrayLayout:
    """Write a case that lies on its grid with storable values (geometry.gridded). Says what was written."""
    whole = _make_patch(case)
    arrays = _collect_arrays(whole)
    layout = ArrayLayout(
        shape=whole.grid.shape,
        spacing_mm=whole.grid.spacing_mm,
        origin_mm=whole.grid.origin_mm,
        names=whole.names,
        body=whole.body_plane,
        body_name=case.body.name or "External",
        sha256={name: hash_array(values) for name, values in arrays.items()},
    )
    group = zarr.create_group(
        place.store(read_only=False), zarr_format=3, attributes={_LAYOUT: layout.model_dump(mode="json")}
    )
    chunk = tuple(math.ceil(n / math.ceil(n / LONGEST_CHUNK)) for n in whole.grid.shape)
    for name, values in arrays.items():
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(*values.shape[:-3], *chunk),
            compressors=[BloscCodec(cname="zstd", clevel=7, shuffle="shuffle"), Crc32cCodec()],
            config={"write_empty_chunks": True},
            attributes=_UNITS[name],
        )
        array[...] = values
    return layout


def hash_array(values: NDArray[Any]) -> str:
    """Hash type, shape and values, whatever the machine's byte order."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str} {little.shape}".encode())
    digest.update(little.data)
    return digest.hexdigest()


@contextlib.contextmanager
def name_damage(key: str, what: str) -> Iterator[None]:
    """Turn what zarr, its codecs and pydantic raise for damaged files into InputError (CASE_DAMAGED)."""
    try:
        yield
    except (FileNotFoundError, KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        message = f"Case {key} of the cohort: {what} cannot be read ({reason(error)})."
        raise InputError(
            Problem("CASE_DAMAGED", message, "Restore its folder from a copy, or add it again.")
        ) from error


def _make_patch(case: Case) -> Patch:
    planes = {name: _choose_levels(s.shape) for name, s in case.structures.items() if isinstance(s.shape, Volume)}
    names = tuple(planes)
    stack = list(planes.values())
    body = _choose_levels(case.body.shape)
    same = [i for i, name in enumerate(names) if name == case.body.name and np.array_equal(planes[name], body)]
    dose = case.reference_dose
    return Patch(
        grid=case.ct.grid,
        hu=case.ct.array.astype(np.int16),
        levels=np.stack(stack if same else [*stack, body]),
        steps=None if dose is None else _shrink_type(count_dose_steps(dose.array)),
        names=names,
        body_plane=same[0] if same else len(names),
    )


def _collect_arrays(whole: Patch) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"ct": whole.hu, "structures": whole.levels}
    return arrays if whole.steps is None else {**arrays, "dose": whole.steps}


def _choose_levels(shape: Any) -> NDArray[np.uint8]:
    assert isinstance(shape, Volume)
    levels: NDArray[np.uint8] = np.rint(shape.array * np.float32(LEVELS)).astype(np.uint8)
    return levels


def _shrink_type(steps: NDArray[np.float64]) -> NDArray[np.unsignedinteger[Any]]:
    return steps.astype(np.uint16 if steps.max() <= np.iinfo(np.uint16).max else np.uint32)
