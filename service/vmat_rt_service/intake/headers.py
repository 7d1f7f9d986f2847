"""What the service knows of a file: how it links to others, as digests, never whose it is."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["CT", "RTSTRUCT", "RTPLAN", "RTDOSE", "damaged", "unreadable", "broken", "costly", "foreign"]


@dataclass(frozen=True, slots=True)
class References:
    """What an RTSTRUCT refers to: digests of series -> of the instances listed, z of its contour planes (LPS mm).

    slice_z: z of the planes whose contours name their CT instance.
    """

    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    planes_mm: tuple[float, ...] = ()
    slice_z: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """One file. UIDs and the patient are keyed digests; whole: the file ends where its last element does.

    refers: the RTSTRUCT of an RTPLAN, the RTPLAN of an RTDOSE. z_mm is None where a file is not one axial slice.
    damaged: begins like DICOM but cannot be read as such; unreadable: the system does not let us read it; broken: its
    disk fails over it; costly: it was not opened within the time that one file is given.
    """

    kind: Kind
    whole: bool = True
    sop: str = ""
    series: str = ""
    frames: tuple[str, ...] = ()
    patient: str = ""
    study: str = ""
    z_mm: float | None = None
    refers: str = ""
    references: References | None = None

    def as_message(self) -> dict[str, Any]:
        return asdict(self)


FOREIGN = Header("foreign")
DAMAGED = Header("damaged", whole=False)
COSTLY = Header("costly", whole=False)


def parse_header(message: dict[str, Any]) -> Header:
    """The header that `as_message` described; equal digests share one string, for there are very many."""
    references = message.pop("references")
    found = References(
        {_intern(k): tuple(map(_intern, v)) for k, v in references["images"].items()},
        tuple(references["planes_mm"]),
        {_intern(k): v for k, v in references["slice_z"].items()},
    ) if references else None  # fmt: skip
    message["frames"] = tuple(map(_intern, message["frames"]))
    for name in ("sop", "series", "patient", "study", "refers", "kind"):
        message[name] = _intern(message[name])
    return FOREIGN if message["kind"] == "foreign" else Header(**message, references=found)


def _intern(text: str) -> str:
    return sys.intern(text)
