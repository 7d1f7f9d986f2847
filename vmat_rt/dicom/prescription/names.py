"""The dose in a target's name: "PTV_7000" and "PTV 70 Gy" say 70 Gy (TG-263), "PTV" and "PTV_High" say none."""

from __future__ import annotations

import re

_NUMBER = re.compile(
    r"(?<![\d.,])(\d{2,5}(?:[.,]\d{1,2})?)(?![\d]|[.,]\d)\s*(c?gy|fx|fr\b|fractions?|mm|cm|cc|%|x)?", re.IGNORECASE
)
_GY = (20.0, 100.0)
_CGY = (1000.0, 10000.0)
_SAME = 0.005


def named_doses_gy(name: str) -> tuple[float, ...]:
    """Total doses that the name can mean, Gy; numbers of fractions, margins and indices are passed over."""
    found: list[float] = []
    for match in _NUMBER.finditer(name):
        value, unit = float(match.group(1).replace(",", ".")), (match.group(2) or "").lower()
        if unit not in {"", "gy", "cgy"}:
            continue
        if unit != "gy" and _CGY[0] <= value <= _CGY[1]:
            found.append(value / 100.0)
        elif unit != "cgy" and _GY[0] <= value <= _GY[1]:
            found.append(value)
    return tuple(found)


def names_dose(name: str, dose_gy: float) -> bool:
    """Whether the name says this dose."""
    return any(same_dose(dose_gy, named) for named in named_doses_gy(name))


def contradicts(name: str, dose_gy: float) -> bool:
    """Whether the name says a dose, and another one."""
    return bool(named_doses_gy(name)) and not names_dose(name, dose_gy)


def same_dose(one_gy: float, other_gy: float) -> bool:
    """Equal but for rounding: within half a per cent."""
    return abs(one_gy - other_gy) <= _SAME * max(one_gy, other_gy)
