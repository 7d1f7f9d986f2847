"""The one grammar of dose-volume metrics, shared by goals, command line and reports.

    D95%  D0.03cc  Dmean  Dmin  Dmax  Dmedian      dose, Gy; with [%] behind it, percent of the prescription
    V70Gy  V95%                                    volume that gets at least 70 Gy, or 95 % of the prescription; percent
    V45Gy[cc]  V95%[cc]                            the same volume in cm^3
    gEUD[a=8]                                      generalised equivalent uniform dose, Gy (Niemierko 1999)
    HI                                             (D2% - D98%) / D50% (ICRU 83)
    CI                                             Paddick's conformity index (J. Neurosurg. 93 suppl. 3, 219, 2000)

Spelling follows TG-263, section 9: what is asked first, the unit of the answer in square brackets. Case and spaces do
not matter.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from vmat_rt.errors import ConfigError

Kind = Literal[
    "dose_at_percent",
    "dose_at_cc",
    "dose_mean",
    "dose_min",
    "dose_max",
    "dose_median",
    "volume_at_gy",
    "volume_at_percent",
    "geud",
    "homogeneity",
    "conformity",
]
Unit = Literal["Gy", "%", "cc", ""]

ALLOWED = (
    "D95%, D0.03cc, Dmean, Dmin, Dmax, Dmedian (add [%] for percent of the prescription), "
    "V70Gy, V95% (add [cc] for cm3), gEUD[a=8], HI, CI"
)

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_CC = r"(?:cc|ccm|cm3|cm\^3|cm³|ml)"
_DOSE = re.compile(rf"d{_NUMBER}(%|{_CC})(?:\[(gy|%)\])?")
_NAMED_DOSE = re.compile(r"d?(mean|min|max|median)(?:\[(gy|%)\])?")
_VOLUME = re.compile(rf"v{_NUMBER}(gy|cgy|%)(?:\[(%|{_CC})\])?")
_GEUD = re.compile(r"geud\[(?:a=)?(-?(?:\d+(?:\.\d*)?|\.\d+))\]")
_NAMED: dict[str, Kind] = {
    "mean": "dose_mean",
    "min": "dose_min",
    "max": "dose_max",
    "median": "dose_median",
}


@dataclass(frozen=True)
class Metric:
    """One metric, parsed. str() gives its canonical spelling, which parses back to an equal Metric.

    number is x of D_x and V_x (percent, cc or Gy, by kind) or the exponent of gEUD; None for the others. unit is the
    unit of the answer: Gy, % (of the volume for V, of the prescription for D), cc, or nothing for an index.
    """

    kind: Kind
    number: float | None
    unit: Unit

    @property
    def is_dose(self) -> bool:
        """Whether the answer is a dose, in Gy or percent of the prescription."""
        return self.kind.startswith("dose") or self.kind == "geud"

    @property
    def is_volume(self) -> bool:
        """Whether the answer is a volume, in percent or cc."""
        return self.kind.startswith("volume")

    @property
    def needs_prescription(self) -> bool:
        """Whether the metric means nothing without a prescribed dose."""
        return self.kind in {"volume_at_percent", "conformity"} or (self.is_dose and self.unit == "%")

    def at(self, number: float) -> Metric:
        """The same metric at another dose level, volume or exponent."""
        return replace(self, number=number)

    def __str__(self) -> str:
        x = "" if self.number is None else format(self.number, ".10g")
        if self.is_volume:
            level = "Gy" if self.kind == "volume_at_gy" else "%"
            return f"V{x}{level}" + ("[cc]" if self.unit == "cc" else "")
        suffix = "[%]" if self.is_dose and self.unit == "%" else ""
        spelled = {
            "dose_at_percent": f"D{x}%",
            "dose_at_cc": f"D{x}cc",
            "dose_mean": "Dmean",
            "dose_min": "Dmin",
            "dose_max": "Dmax",
            "dose_median": "Dmedian",
            "geud": f"gEUD[a={x}]",
            "homogeneity": "HI",
            "conformity": "CI",
        }
        return spelled[self.kind] + suffix


def parse_metric(text: str) -> Metric:
    """The Metric that `text` spells. Raises ConfigError that lists what is allowed."""
    folded = re.sub(r"\s+", "", text).casefold()
    metric = _parse_dose(folded) or _parse_volume(folded) or _parse_index(folded)
    if metric is None:
        raise ConfigError(f"{text!r} is not a dose-volume metric; allowed are {ALLOWED}")
    _check_range(text, metric)
    return metric


def parse_metrics(text: str) -> tuple[Metric, ...]:
    """A comma-separated list, such as `D95%,D0.03cc,Dmean`; repetitions are dropped. Raises ConfigError."""
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigError(f"no metric is given; allowed are {ALLOWED}")
    return tuple(dict.fromkeys(parse_metric(part) for part in parts))


def _parse_dose(folded: str) -> Metric | None:
    named = _NAMED_DOSE.fullmatch(folded)
    if named:
        return Metric(_NAMED[named[1]], None, _parse_dose_unit(named[2]))
    match = _DOSE.fullmatch(folded)
    if match:
        kind: Kind = "dose_at_percent" if match[2] == "%" else "dose_at_cc"
        return Metric(kind, float(match[1]), _parse_dose_unit(match[3]))
    return None


def _parse_dose_unit(bracket: str | None) -> Unit:
    return "%" if bracket == "%" else "Gy"


def _parse_volume(folded: str) -> Metric | None:
    match = _VOLUME.fullmatch(folded)
    if not match:
        return None
    number, level, bracket = float(match[1]), match[2], match[3]
    unit: Unit = "%" if bracket in {None, "%"} else "cc"
    if level == "%":
        return Metric("volume_at_percent", number, unit)
    return Metric("volume_at_gy", number / 100 if level == "cgy" else number, unit)


def _parse_index(folded: str) -> Metric | None:
    match = _GEUD.fullmatch(folded)
    if match:
        return Metric("geud", float(match[1]), "Gy")
    if folded == "hi":
        return Metric("homogeneity", None, "")
    if folded == "ci":
        return Metric("conformity", None, "")
    return None


def _check_range(text: str, metric: Metric) -> None:
    x = metric.number
    if metric.kind == "dose_at_percent" and not 0 < float(x or 0) <= 100:
        raise ConfigError(f"{text!r}: the volume must be above 0 % and at most 100 %; Dmax and Dmin are the two ends")
    if metric.kind == "dose_at_cc" and not float(x or 0) > 0:
        raise ConfigError(f"{text!r}: the volume must be above 0 cc; Dmax is the dose of the hottest point")
    if metric.kind == "geud" and (x == 0 or not math.isfinite(float(x or 0))):
        raise ConfigError(f"{text!r}: the exponent must not be 0; gEUD[a=1] is the mean dose")
