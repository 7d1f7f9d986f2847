"""Learned: the range of treatments that a model was fitted on, in its bundle; what lies outside is said or refused.

The dose levels of a treatment are told apart by their share of the highest one: 56 Gy beside 70 Gy is 0.8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field, model_validator

from vmat_rt.errors import ConfigError
from vmat_rt.strict import Strict

SAME_SHARE: Final = 0.01
"""Shares that differ by less are one level: prescriptions are rounded to 0.1 Gy or so (62.9 for 63 beside 70)."""
CARD_TITLE: Final = "## What it learned"


class Range(Strict):
    """From low to high, both of which were seen."""

    low: float = Field(ge=0)
    high: float = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) lies above high ({self.high:g})")
        return self

    @classmethod
    def of(cls, values: Iterable[float], digits: int = 3) -> Range:
        """The range of some values, of which there is at least one, rounded."""
        seen = [round(value, digits) for value in values]
        return cls(low=min(seen), high=max(seen))

    def holds(self, value: float, share: float = 0.0) -> bool:
        """Whether the value lies in the range, widened by this share of either end."""
        return self.low * (1 - share) <= value <= self.high * (1 + share)

    def __str__(self) -> str:
        return f"{self.low:.4g}" if self.low == self.high else f"{self.low:.4g} to {self.high:.4g}"


class Level(Strict):
    """One dose level: its share of the highest level, in how many cases it stood, and what its targets measure."""

    share: Range
    cases: int = Field(gt=0)
    volumes_cc: Range


class Learned(Strict):
    """The treatments that a model was fitted on. levels: the highest (share 1) first; dose_levels: how many in one."""

    site: str
    cases: int = Field(gt=0)
    fractions: Range
    gy_per_fraction: Range
    dose_levels: Range
    levels: tuple[Level, ...] = Field(min_length=1)

    @property
    def volumes_cc(self) -> Range:
        """Of the targets of every level."""
        ends = [end for level in self.levels for end in (level.volumes_cc.low, level.volumes_cc.high)]
        return Range.of(ends)

    def level_at(self, share: float) -> Level | None:
        """The level of this share of the highest dose; None where it was not learned."""
        found = (level for level in self.levels if level.share.low - SAME_SHARE <= share)
        return next((level for level in found if share <= level.share.high + SAME_SHARE), None)

    def fractionation(self) -> str:
        """Such as `2.5 Gy per fraction in 28 fractions`."""
        return f"{self.gy_per_fraction} Gy per fraction in {self.fractions} fractions"

    def sentences(self) -> tuple[str, ...]:
        """The range for people, one line each."""
        highest, *lower = self.levels
        return (
            f"site {self.site}, {_counted(self.cases)}",
            f"{self.fractionation()} (highest dose level)",
            f"{in_words(self.dose_levels)} dose level{'' if self.dose_levels.high == 1 else 's'} per case",
            f"targets of the highest level: {_cc(highest.volumes_cc)}",
            *(f"{_percent(level.share)} of the highest, in {_counted(level.cases)}: {_cc(level.volumes_cc)}"
              for level in lower),
        )  # fmt: skip

    def card_section(self) -> str:
        """Markdown for a model card: heading and list, ended by one line break."""
        lines = [f"- {sentence[0].upper()}{sentence[1:]}." for sentence in self.sentences()]
        return "\n".join([CARD_TITLE, "", *lines, ""])


@dataclass(frozen=True)
class Treatment:
    """What a range is judged by: the contoured targets' doses (Gy in total) and volumes by name, and the fractions."""

    dose_gy: Mapping[str, float]
    volumes_cc: Mapping[str, float]
    fractions: int

    @property
    def gy_per_fraction(self) -> float:
        """Of the highest level."""
        return max(self.dose_gy.values()) / self.fractions

    def shares(self) -> dict[str, float]:
        """Of each target: its dose as a share of the highest."""
        highest = max(self.dose_gy.values())
        return {name: dose / highest for name, dose in self.dose_gy.items()}

    @property
    def dose_levels(self) -> int:
        """How many different doses are prescribed; those that rounding tells apart count once."""
        return len(_joined(self.shares().values()))


def learned_from(site: str, treatments: Iterable[Treatment]) -> Learned:
    """The range of the treatments that a model of this site is fitted on. Raises ConfigError where there is none."""
    seen = [treatment for treatment in treatments if treatment.dose_gy]
    if not seen:
        raise ConfigError("no training case has a contoured target with a dose")
    shares = _joined(share for treatment in seen for share in treatment.shares().values())
    return Learned(
        site=site,
        cases=len(seen),
        fractions=Range.of(treatment.fractions for treatment in seen),
        gy_per_fraction=Range.of(treatment.gy_per_fraction for treatment in seen),
        dose_levels=Range.of(treatment.dose_levels for treatment in seen),
        levels=tuple(_level(share, seen) for share in shares),
    )


def _level(share: Range, treatments: Iterable[Treatment]) -> Level:
    """The level of what has this share, of the treatments that have it."""
    volumes = [
        [t.volumes_cc[name] for name, own in t.shares().items() if share.low <= round(own, 3) <= share.high]
        for t in treatments
    ]
    found = [each for each in volumes if each]
    return Level(share=share, cases=len(found), volumes_cc=Range.of(v for each in found for v in each))


def _joined(shares: Iterable[float]) -> list[Range]:
    """Ranges of shares, highest first, between which there are gaps wider than what rounding makes."""
    groups: list[list[float]] = []
    for share in sorted(shares, reverse=True):
        if groups and groups[-1][-1] - share <= SAME_SHARE:
            groups[-1].append(share)
        else:
            groups.append([share])
    return [Range.of(group) for group in groups]


def in_words(count: Range | int) -> str:
    """Small whole numbers as words: `one to two`."""
    words = ("no", "one", "two", "three", "four", "five", "six")
    ends = dict.fromkeys((count, count) if isinstance(count, int) else (int(count.low), int(count.high)))
    return " to ".join(words[end] if end < len(words) else str(end) for end in ends)


def percent(share: float) -> str:
    """A share of the highest level as people write it."""
    return f"{100 * share:.3g} %"


def _counted(cases: int) -> str:
    return "1 case" if cases == 1 else f"{cases} cases"


def _percent(share: Range) -> str:
    return percent(share.low) if share.low == share.high else f"{100 * share.low:.3g} to {percent(share.high)}"


def cc(volume: float) -> str:
    """A volume to three digits, whole cc from 100 on."""
    return f"{volume:.0f}" if volume >= 100 else f"{volume:.3g}"


def _cc(volumes: Range) -> str:
    low, high = cc(volumes.low), cc(volumes.high)
    return f"{low} cc" if low == high else f"{low} to {high} cc"
