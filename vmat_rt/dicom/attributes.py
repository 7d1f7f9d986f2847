"""Attributes of a dataset as typed values. The one place where malformed elements are met.

pydicom converts an element when it is first touched, and what it raises depends on the bytes. Here that becomes one
`InputError` which names the keyword and the object, so the readers above need no guards of their own.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any, Final, Never

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from vmat_rt.errors import InputError, Problem

# pydicom reports odd values together with the value or the file's name, which must not reach a log.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\b")

LONGEST_TEXT: Final = 10_000
"""Characters of a text that is read; those of DICOM are at most 64, or 1024."""
_LONGEST_NUMBER = 64
"""Characters of a number; those of DICOM are at most 16."""
_LARGEST = {
    "ImagePositionPatient": 1e5,
    "GridFrameOffsetVector": 1e5,
    "SliceThickness": 1e4,
    "RescaleSlope": 1e6,
    "RescaleIntercept": 1e6,
    "DoseGridScaling": 1e6,
    "ImageOrientationPatient": 1.5,
}
"""What values cannot exceed, whatever their sign: no patient and no scale is so large. mm where they are lengths."""
_EXPORT_AGAIN = "Export the study again from the system that made it."


def _is_decimal_text(raw: RawDataElement, keyword: str) -> bool:
    vr = dictionary_VR(keyword) if raw.VR in (None, "UN") else raw.VR
    return vr in {"DS", "IS"}


class Attributes:
    """Typed view of one dataset. `what` names the object in messages ("the RTPLAN", "CT file 'a.dcm'").

    A getter gives None (text: "") when the attribute is absent or empty, and raises InputError (ATTRIBUTE_INVALID)
    when it is there but cannot be what its keyword says. The `need_` getters refuse absence too (ATTRIBUTE_MISSING).
    """

    def __init__(self, dataset: Dataset, what: str) -> None:
        self.dataset = dataset
        self.what = what

    def text(self, keyword: str, longest: int = LONGEST_TEXT) -> str:
        """The value as stripped text of at most `longest` characters; several values are joined by a backslash."""
        value = self._value(keyword)
        if value is None:
            return ""
        if isinstance(value, bytes):
            value = value[: longest + 1].decode("latin-1")
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
        text = "\\".join(str(part).strip(" \0") for part in parts)
        if len(text) > longest:
            self._refuse(keyword, f"is a text of more than {longest} characters")
        return text

    def number(self, keyword: str) -> float | None:
        """One finite number."""
        values = self.numbers(keyword, 1)
        return None if values is None else float(values[0])

    def whole(self, keyword: str) -> int | None:
        """One whole number."""
        value = self.number(keyword)
        if value is not None and value != int(value):
            self._refuse(keyword, f"is {value:g}, not a whole number")
        return None if value is None else int(value)

    def numbers(self, keyword: str, count: int | None = None) -> NDArray[np.float64] | None:
        """Finite numbers (float64), exactly `count` of them when it is given."""
        values = self.raw_numbers(keyword)
        if values is None:
            return None
        if count is not None and values.size != count:
            self._refuse(keyword, f"has {values.size} values where {count} belong")
        if not np.all(np.isfinite(values)):
            self._refuse(keyword, "holds a value that is not a finite number")
        if np.any(np.abs(values) > (most := _LARGEST.get(keyword, np.inf))):
            self._refuse(keyword, f"is {float(values[np.argmax(np.abs(values))]):.4g}, beyond {most:g}")
        return values

    def raw_numbers(self, keyword: str) -> NDArray[np.float64] | None:
        """Numbers (float64) that may be NaN or infinite. Text is parsed at once, for contours of many points."""
        raw = self.stored(keyword)
        try:
            if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes) and _is_decimal_text(raw, keyword):
                return self._parsed_numbers(keyword, raw.value.strip(b" \0"))
            value = self._value(keyword)
            return None if value is None else np.atleast_1d(np.asarray(value, dtype=np.float64))
        except (ValueError, TypeError, OverflowError):
            self._refuse(keyword, "is not a number")

    def _parsed_numbers(self, keyword: str, content: bytes) -> NDArray[np.float64] | None:
        parts = content.split(b"\\")
        if max(map(len, parts)) > _LONGEST_NUMBER:
            self._refuse(keyword, "is not a number")
        return np.array(parts, dtype=np.bytes_).astype(np.float64) if content else None

    def stored(self, keyword: str) -> object:
        """The element as the file holds it (RawDataElement) or, once it was touched, converted; None when absent."""
        try:
            return self.dataset.get_item(Tag(keyword)) if keyword in self.dataset else None
        except Exception as error:  # get_item converts elements without a value
            raise InputError(self._problem(keyword, "cannot be read")) from error

    def items(self, keyword: str) -> tuple[Attributes, ...]:
        """The items of a sequence; empty when it is absent."""
        value = self._value(keyword)
        if value is None:
            return ()
        if not isinstance(value, pydicom.Sequence):
            self._refuse(keyword, "is not a sequence")
        return tuple(Attributes(item, self.what) for item in value)

    def need_text(self, keyword: str) -> str:
        return self.text(keyword) or self._missing(keyword)

    def need_number(self, keyword: str) -> float:
        value = self.number(keyword)
        return self._missing(keyword) if value is None else value

    def need_whole(self, keyword: str, low: int, high: int) -> int:
        """One whole number from low to high."""
        value = self.whole(keyword)
        if value is None:
            self._missing(keyword)
        if not low <= value <= high:
            self._refuse(keyword, f"is {value}, outside {low} to {high}")
        return value

    def need_numbers(self, keyword: str, count: int) -> NDArray[np.float64]:
        value = self.numbers(keyword, count)
        return self._missing(keyword) if value is None else value

    def _value(self, keyword: str) -> Any:
        """The converted value, None when absent or empty."""
        try:
            value = self.dataset.get(keyword)
        except Exception as error:  # the boundary: pydicom raises whatever the bytes lead it to
            raise InputError(self._problem(keyword, "cannot be read")) from error
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return value
        empty = (
            isinstance(value, str | bytes | list | pydicom.Sequence | pydicom.multival.MultiValue) and len(value) == 0
        )
        return None if empty else value

    def _problem(self, keyword: str, fault: str) -> Problem:
        return Problem("ATTRIBUTE_INVALID", f"{keyword} of {self.what} {fault}.", _EXPORT_AGAIN)

    def _refuse(self, keyword: str, fault: str) -> Never:
        raise InputError(self._problem(keyword, fault))

    def _missing(self, keyword: str) -> Never:
        raise InputError(Problem("ATTRIBUTE_MISSING", f"{self.what} has no {keyword}.", _EXPORT_AGAIN))


def readable_header(dataset: Dataset, *left_out: str) -> Dataset:
    """A dataset with every element of `dataset` that can be converted, without the keywords in `left_out`.

    Outputs inherit from headers, so what stands in one must not raise when it is touched later.
    """
    header = Dataset()
    excluded = {Tag(keyword) for keyword in left_out}
    for tag in dataset.keys() - excluded:
        try:
            header.add(dataset[tag])
        except Exception as error:  # the boundary, as in Attributes
            logging.getLogger("vmat_rt").debug("left out an unreadable element: %s", type(error).__name__)
    return header
