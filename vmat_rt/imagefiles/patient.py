"""A folder of image files -> what a Case is put together from. Every file is read once."""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from vmat_rt.assembly.values import fraction_volume, frame_of
from vmat_rt.assembly.voxels import GivenDoses, Voxels
from vmat_rt.case import Volume
from vmat_rt.errors import ConfigError, InputError, Problem
from vmat_rt.grid import Grid
from vmat_rt.imagefiles.mapping import MAPPING_FILE, ImageMapping, MaskSource, read_mapping
from vmat_rt.imagefiles.naming import map_by_names
from vmat_rt.imagefiles.nrrd import Segment, read_segments
from vmat_rt.imagefiles.volume import read_layers, read_volume
from vmat_rt.protocol import Protocol, load_protocol

MAPPING_SOURCE: Final = "mapping file"
_ASK: Final = "prescription: {{{name}: {gy}}} in the mapping file"
_SAME: Final = 0.02
"""Part of a voxel by which the places of two grids may differ: headers state them in 32 bits."""

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class ImageFolder:
    """A patient's folder and which of its files is what."""

    folder: Path
    mapping: ImageMapping

    def protocol(self) -> Protocol | None:
        """The protocol that the mapping names. Raises ConfigError when it cannot be read."""
        return None if self.mapping.protocol is None else load_protocol(self.mapping.protocol)

    def sha256(self) -> str:
        """Hash the files' content and the mapping; a file that is absent counts as absent."""
        digest = hashlib.sha256(self.mapping.model_dump_json(exclude={"protocol"}).encode())
        for name in self.mapping.files():
            path = self.folder / name
            digest.update(f"\n{name} ".encode())
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def open_folder(folder: Path, mapping: ImageMapping | None, protocols: Sequence[Protocol]) -> ImageFolder:
    """The folder with the mapping given, else with its own mapping.yaml, else by the names of its files.

    Raises InputError: MAPPING_INVALID for a mapping.yaml that cannot be used, or as `map_by_names`.
    """
    if mapping is None:
        own = folder / MAPPING_FILE
        mapping = _read_own_mapping(own) if own.is_file() else map_by_names(folder, protocols)
    return ImageFolder(folder, mapping)


def _read_own_mapping(path: Path) -> ImageMapping:
    try:
        return read_mapping(path)
    except ConfigError as error:
        reason = str(error)
        message = f"{reason[:1].upper()}{reason[1:]}."
        raise InputError(Problem("MAPPING_INVALID", message, "Correct it; docs/nifti.md shows one.")) from error


def read_patient(images: ImageFolder, given: Sequence[GivenDoses] = ()) -> Voxels:
    """CT, masks and dose as voxels in one frame of reference, with every problem of the files.

    given: what a user says of the prescription, before the mapping's own.
    """
    folder, mapping = images.folder, images.mapping
    problems: list[Problem] = []
    ct = _read_or_note(lambda: _read_ct(folder / mapping.ct), problems)
    masks: dict[str, Volume | None] = dict.fromkeys(mapping.structures)
    for name, sources in _group_by_file(mapping.structures).items():
        masks.update(_read_masks(folder / name, sources, ct, problems))
    dose = None
    if mapping.dose is not None:
        path = folder / mapping.dose
        dose = _read_or_note(lambda: _place_on_ct(read_volume(path, _make_frame_uid(ct)), ct, path.name), problems)
    mapped = GivenDoses(mapping.prescription, mapping.fractions, MAPPING_SOURCE, _ASK)
    return Voxels(ct, masks, dose, (*given, mapped), mapping.gantry_angles_deg, tuple(problems))


def _read_masks(
    path: Path, sources: Mapping[str, MaskSource], ct: Volume | None, problems: list[Problem]
) -> dict[str, Volume | None]:
    """The masks that one file holds, by structure."""
    layers = _read_or_note(
        lambda: tuple(_place_on_ct(layer, ct, path.name) for layer in read_layers(path, _make_frame_uid(ct))), problems
    )
    if layers is None:
        return {}
    named = any(source.segment for source in sources.values())
    segments = (_read_or_note(lambda: read_segments(path), problems) if named else None) or ()
    masks: dict[str, Volume | None] = {}
    for roi_name, source in sources.items():
        read = functools.partial(_pick_mask, roi_name, source, segments, layers)
        masks[roi_name] = _read_or_note(read, problems)
    return masks


def _make_frame_uid(ct: Volume | None) -> str:
    return ct.grid.frame_uid if ct is not None else "none"


def _read_or_note(read: Callable[[], _Read], problems: list[Problem]) -> _Read | None:
    try:
        return read()
    except InputError as refusal:
        problems.extend(refusal.problems)
        return None


def _read_ct(path: Path) -> Volume:
    ct = read_volume(path, "none")
    grid = ct.grid
    return Volume(Grid(grid.shape, grid.spacing_mm, grid.origin_mm, frame_of(ct.array)), ct.array)


def _group_by_file(structures: Mapping[str, MaskSource]) -> Mapping[str, dict[str, MaskSource]]:
    grouped: dict[str, dict[str, MaskSource]] = defaultdict(dict)
    for roi_name, source in structures.items():
        grouped[source.file][roi_name] = source
    return grouped


def _pick_mask(roi_name: str, source: MaskSource, segments: Sequence[Segment], layers: Sequence[Volume]) -> Volume:
    label, layer = source.label, 0
    if source.segment is not None:
        matches = [segment for segment in segments if segment.name == source.segment]
        if len(matches) != 1 or not 0 <= matches[0].layer < len(layers):
            message = f"The file {source.file!r} has {len(matches)} segments called {source.segment!r}."
            raise InputError(Problem("MASK_INVALID", message, "Give the name of one segment as the file has it."))
        label, layer = matches[0].label, matches[0].layer
    elif len(layers) > 1:
        message = f"The file {source.file!r} holds {len(layers)} layers, so labels alone do not tell structures apart."
        raise InputError(Problem("MASK_INVALID", message, "Give the name of a segment: {file: ..., segment: NAME}."))
    volume = layers[layer]
    values = volume.array if label is None else volume.array == np.float32(label)
    return fraction_volume(roi_name, values, volume.grid)


def _place_on_ct(volume: Volume, ct: Volume | None, name: str) -> Volume:
    """Put a volume on the grid of the CT where headers differ by rounding only; else it keeps its own grid.

    Raises InputError where a volume has the CT's voxels but another place (then its header was lost), or none within
    the CT.
    """
    if ct is None:
        return volume
    voxel_mm = min(ct.grid.spacing_mm)
    if volume.grid.same_as(ct.grid, _SAME * voxel_mm):
        return Volume(ct.grid, volume.array)
    (low, high), (ct_low, ct_high) = volume.grid.bounds_mm, ct.grid.bounds_mm
    apart = any(low[axis] >= ct_high[axis] or high[axis] <= ct_low[axis] for axis in range(3))
    if apart or volume.grid.shape == ct.grid.shape:
        fault = "lies wholly outside the CT" if apart else "has as many voxels as the CT, but lies elsewhere"
        message = f"The image {name!r} {fault}: {volume.grid.describe()}, the CT {ct.grid.describe()}."
        remedy = "Write it again with the header of the CT that it belongs to."
        raise InputError(Problem("IMAGE_PLACE_DIFFERS", message, remedy))
    return volume
