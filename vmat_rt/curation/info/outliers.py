"""Cases that stand apart: modified z-scores of volumes, target doses and overlaps.

B. Iglewicz and D. Hoaglin (1993), "How to detect and handle outliers", ASQC Quality Press: 0.6745 (x - median) / MAD,
above 3.5 worth a look. Median and MAD do not move with the outliers themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from vmat_rt.cohort.record import CaseRecord
from vmat_rt.curation.info.survey import CaseSurvey

THRESHOLD: Final = 3.5
FEWEST: Final = 8
"""Of fewer cases nobody knows what is usual."""
_CONSISTENT: Final = 0.6745

Scale = Literal["linear", "logarithmic"]


@dataclass(frozen=True)
class CaseQuantity:
    """One number of every case that has it. least: a MAD below this (of the logarithm for a logarithmic scale) is
    taken for it, so that near-equal values make no outliers of those a hair away.
    """

    name: str
    unit: str
    scale: Scale
    least: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Outlier:
    """A case, what is unusual in it, and how far from the median it is in robust standard deviations."""

    key: str
    quantity: str
    value: float
    median: float
    unit: str
    z: float

    @property
    def sentence(self) -> str:
        side = "above" if self.z > 0 else "below"
        return (
            f"{self.quantity} is {self.value:.3g} {self.unit}, the cohort's median {self.median:.3g} {self.unit} "
            f"({abs(self.z):.1f} robust standard deviations {side})."
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "reason": self.sentence}


def collect_quantities(records: Iterable[CaseRecord], surveys: Iterable[CaseSurvey]) -> Iterator[CaseQuantity]:
    """Volumes (as read), D95 of targets and overlaps with the highest-dose target."""
    records, surveys = tuple(records), tuple(surveys)
    for name in dict.fromkeys(name for record in records for name in record.volumes_cc):
        volumes = {r.key: r.volumes_cc[name] for r in records if r.volumes_cc.get(name, 0.0) > 0}
        yield CaseQuantity(f"volume of {name}", "cc", "logarithmic", 0.05, volumes)
    for name in dict.fromkeys(name for survey in surveys for name, m in survey.metrics.items() if "D98%" in m):
        doses = {s.key: s.metrics[name]["D95%"] for s in surveys if "D95%" in s.metrics.get(name, {})}
        yield CaseQuantity(f"D95% of {name}", "Gy", "linear", 0.3, doses)
    for name in dict.fromkeys(name for survey in surveys for name in survey.overlaps):
        shares = {s.key: s.overlaps[name] for s in surveys if name in s.overlaps}
        yield CaseQuantity(f"part of {name} in the highest-dose target", "%", "linear", 1.5, shares)


def find_outliers(quantities: Iterable[CaseQuantity]) -> tuple[Outlier, ...]:
    """The furthest first."""
    outliers = [outlier for quantity in quantities for outlier in _find_outliers(quantity)]
    return tuple(sorted(outliers, key=lambda outlier: (-abs(outlier.z), outlier.key, outlier.quantity)))


def _find_outliers(quantity: CaseQuantity) -> Iterator[Outlier]:
    if len(quantity.values) < FEWEST:
        return
    values = np.array(list(quantity.values.values()))
    scaled = np.log(values) if quantity.scale == "logarithmic" else values
    deviation = scaled - np.median(scaled)
    mad = max(float(np.median(np.abs(deviation))), quantity.least)
    median = float(np.median(values))
    for key, value, z in zip(quantity.values, values.tolist(), (_CONSISTENT * deviation / mad).tolist(), strict=True):
        if abs(z) > THRESHOLD:
            yield Outlier(key, quantity.name, value, median, quantity.unit, z)
