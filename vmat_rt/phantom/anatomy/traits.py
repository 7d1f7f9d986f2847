"""Who the simulated patients are: plan type, nodes, implants (in fixed shares) and the sizes of each man.

Every block of 20 consecutive indices holds the same mix in an order shuffled by the seed: 4 single-level, 3 nodal SIB,
1 hip prosthesis and 1 rectal spacer. Any 100 consecutive indices contain four whole blocks, so at least 12 are nodal, 8
are flagged as outliers and at most 4 x 4 + 8 = 24 (the ends of two cut blocks) are single-level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vmat_rt.phantom.anatomy.fields import Draws

BLOCK = 20
_SINGLE = range(4)
_NODAL = range(4, 7)
_PROSTHESIS, _SPACER, _SPACER_SINGLE = 7, 8, 0

# Keys that keep the streams of one patient apart.
MIX, SIZES, BEND, PLACE, SURFACE, FASCIA, TEXTURE, LOOPS, NOISE, METAL = range(10)


@dataclass(frozen=True)
class Traits:
    """What kind of patient this is. flags name what a model of ordinary patients should not be trained on."""

    plan_type: Literal["sib", "single_level"]
    nodal: bool
    hip_prosthesis: bool
    rectal_spacer: bool
    prosthesis_side: Literal["L", "R"] | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """Of "hip_prosthesis" and "rectal_spacer" those that apply."""
        return tuple(name for name in ("hip_prosthesis", "rectal_spacer") if getattr(self, name))


@dataclass(frozen=True)
class Sizes:
    """One man's measures, drawn. Lengths in mm, volumes in cc; *_cc are what the organs are scaled to."""

    skeleton: float
    half_width: float
    half_depth: float
    fat_front: float
    fat_back: float
    fat_side: float
    prostate_cc: float
    vesicles_cc: float
    bladder_cc: float
    rectum_cc: float
    bulb_cc: float
    overlap_cc: float
    rectal_gas: float
    head_radius: float
    prostate_aspect: float
    bladder_aspect: float
    margin_low: float
    pixel: float
    slice: float
    noise_hu: float


def draw_traits(seed: int, index: int) -> Traits:
    """Traits of patient `index` of the population `seed`; without drawing an image."""
    block, position = divmod(index, BLOCK)
    slot = Draws(seed, block, MIX).permutation(BLOCK)[position]
    spacer_slot = _SPACER_SINGLE if block % 2 else _SPACER
    prosthesis = slot == _PROSTHESIS
    side: Literal["L", "R"] = "L" if Draws(seed, index, METAL).chance(0.5) else "R"
    return Traits(
        plan_type="single_level" if slot in _SINGLE else "sib",
        nodal=slot in _NODAL,
        hip_prosthesis=prosthesis,
        rectal_spacer=slot == spacer_slot,
        prosthesis_side=side if prosthesis else None,
    )


def draw_sizes(seed: int, index: int) -> Sizes:
    """Measures of patient `index`: large men have large skeletons, stout ones more fat everywhere."""
    draw = Draws(seed, index, SIZES)
    skeleton = draw.uniform(0.96, 1.05)
    stout = draw.uniform(0.0, 1.0)
    half_width = round(166.0 + 32.0 * stout + draw.uniform(0.0, 8.0) + 60.0 * max(0.0, skeleton - 1.0), 6)
    half_depth = round(104.0 + 24.0 * stout + draw.uniform(0.0, 6.0), 6)
    rectum_cc = draw.skewed(54.0, 125.0, 1.4)
    pixels = (1.269531, 1.367188, 1.464844, 1.5625, 1.660156, 1.757812, 1.855469, 1.953125)
    return Sizes(
        skeleton=skeleton,
        half_width=half_width,
        half_depth=half_depth,
        fat_front=round(13.0 + 22.0 * stout + draw.uniform(-3.0, 4.0), 6),
        fat_back=round(11.0 + 15.0 * stout + draw.uniform(-3.0, 4.0), 6),
        fat_side=round(11.0 + 22.0 * stout + draw.uniform(-2.0, 4.0), 6),
        prostate_cc=draw.skewed(26.0, 88.0, 1.6),
        vesicles_cc=draw.uniform(8.4, 13.6),
        bladder_cc=draw.skewed(95.0, 490.0, 1.7),
        rectum_cc=rectum_cc,
        bulb_cc=draw.uniform(3.5, 7.5),
        overlap_cc=round(min(5.8, max(2.6, rectum_cc * draw.uniform(0.05, 0.095))), 6),
        rectal_gas=draw.uniform(0.15, 1.0) if draw.chance(0.65) else 0.0,
        head_radius=draw.uniform(24.2, 25.8),
        prostate_aspect=draw.uniform(0.93, 1.08),
        bladder_aspect=draw.uniform(0.9, 1.12),
        margin_low=draw.uniform(5.0, 7.0),
        pixel=pixels[int(draw.uniform(0.0, 7.999))],
        slice=(2.0, 2.5, 3.0)[int(draw.uniform(0.0, 2.999))],
        noise_hu=draw.uniform(7.0, 13.0),
    )
