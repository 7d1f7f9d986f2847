"""What structures usually measure, by disease site. Far outside means: look whether the right thing was contoured.

The ranges are wide on purpose. A volume outside them does not prove an error, and one inside does not prove that there
is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_JUDGEMENT: Final = "engineering judgement: wider than any adult pelvis that one would plan without a second look"
_OPENKBP: Final = (
    "lowest and highest of the 202 public OpenKBP patients (Babier et al., Med. Phys. 48(9), 5549-5561, 2021) without "
    "the outermost 1 % at either end, down to half and up to twice as much, rounded"
)


@dataclass(frozen=True)
class UsualVolume:
    """A range in cc, and where it comes from."""

    low_cc: float
    high_cc: float
    source: str


def _make_table(source: str, **ranges_cc: tuple[float, float]) -> dict[str, UsualVolume]:
    return {name: UsualVolume(low, high, source) for name, (low, high) in ranges_cc.items()}


USUAL_VOLUMES: Final[Mapping[str, Mapping[str, UsualVolume]]] = {
    "prostate": _make_table(
        _JUDGEMENT,
        PTV_7000=(30, 450),
        PTV_5600=(30, 2000),
        PTV_5040=(100, 2500),
        Prostate=(10, 200),
        SeminalVes=(1, 60),
        Rectum=(20, 350),
        Bladder=(40, 1000),
        Femur_Head_L=(15, 250),
        Femur_Head_R=(15, 250),
        Bag_Bowel=(20, 5000),
        PenileBulb=(0.5, 20),
        External=(3000, 80_000),
    ),
    "head and neck": _make_table(
        _OPENKBP,
        PTV_7000=(22, 1850),
        PTV_6300=(1.7, 1100),
        PTV_5600=(2.8, 2640),
        Brainstem=(3.3, 88),
        SpinalCord=(4.4, 114),
        Parotid_L=(5, 110),
        Parotid_R=(4.4, 106),
        Bone_Mandible=(15, 196),
        Esophagus=(1.4, 69),
        Larynx=(0.5, 143),
    ),
}
"""Site of the protocol -> TG-263 name -> range. The only home of these numbers."""
