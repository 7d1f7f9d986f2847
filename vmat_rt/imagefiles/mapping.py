"""The mapping file: which image file is which structure, and what is prescribed. docs/nifti.md shows one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from vmat_rt.errors import ConfigError
from vmat_rt.strict import Strict, checked, load_mapping, read_text

MAPPING_FILE: Final = "mapping.yaml"
_LARGEST: Final = 1 << 20
_MOST_STRUCTURES: Final = 500


def _require_within_the_folder(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError("a file is named within the patient's folder, with / between folders")
    return name


FileName = Annotated[str, AfterValidator(_require_within_the_folder)]


class MaskSource(Strict):
    """Where a structure's voxels are: a mask of 0 and 1 (or of fractions), one label of a label map, or a segment."""

    file: FileName
    label: StrictInt | None = Field(default=None, ge=1, description="value of the structure's voxels in a label map")
    segment: str | None = Field(default=None, min_length=1, description="name of a segment in a .seg.nrrd file")

    @model_validator(mode="after")
    def _one_way(self) -> MaskSource:
        if self.label is not None and self.segment is not None:
            raise ValueError("give label or segment, not both")
        return self


def _parse_mask_source(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class ImageMapping(Strict):
    """One patient's files, named within the patient's folder; the same mapping may serve many folders.

    structures: by TG-263 name or alias. prescription: total Gy by target. protocol: a name or a YAML file beside this
    one; by default the packaged one that fits the names. gantry_angles_deg: of the plan, IEC 61217, as a head-first
    supine patient has them; by default the protocol's.
    """

    ct: FileName
    dose: FileName | None = None
    structures: dict[str, Annotated[MaskSource, BeforeValidator(_parse_mask_source)]] = Field(
        min_length=1, max_length=_MOST_STRUCTURES
    )
    prescription: dict[str, Annotated[float, Field(gt=0, lt=200)]] = Field(default_factory=dict)
    fractions: StrictInt | None = Field(default=None, ge=1, le=200)
    protocol: str | None = None
    gantry_angles_deg: tuple[Annotated[float, Field(ge=0, lt=360)], ...] = Field(default=(), max_length=1000)

    def files(self) -> tuple[str, ...]:
        """Every file that it names, once."""
        named = (self.ct, self.dose, *(source.file for source in self.structures.values()))
        return tuple(dict.fromkeys(name for name in named if name is not None))


def read_mapping(path: Path) -> ImageMapping:
    """The mapping in a YAML file. Raises ConfigError that says what is wrong with it."""
    what = f"the mapping file {path.name}"
    try:
        too_large = path.stat().st_size > _LARGEST
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}") from error
    if too_large:
        raise ConfigError(f"{what} is larger than {_LARGEST} bytes")
    document = load_mapping(read_text(path, what), what)
    mapping = checked(ImageMapping, document, what)
    return _find_protocol_beside(mapping, path)


def _find_protocol_beside(mapping: ImageMapping, path: Path) -> ImageMapping:
    """A protocol's YAML file is looked for beside the mapping file, wherever the command runs."""
    if mapping.protocol is None or Path(mapping.protocol).suffix not in {".yaml", ".yml"}:
        return mapping
    return mapping.model_copy(update={"protocol": str(path.parent / mapping.protocol)})


def write_proposal(document: Mapping[str, object]) -> str:
    """A mapping on one line, as somebody may write it into a mapping file."""
    return yaml.safe_dump(document, default_flow_style=True, sort_keys=False, width=10**9).strip()
