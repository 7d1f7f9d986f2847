"""What of a DICOM file can reach a result, as one digest: files that differ only in the rest give the same dose.

Left out are private elements, who made or handed on the instance and when, group lengths, padding, signatures, and the
wrapping of the file: preamble and file meta information, of which only a transfer syntax counts that changes the bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Protocol

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset

from vmat_rt.dicom.files import read_whole
from vmat_rt.errors import InputError

_HANDLING: Final = frozenset(
    {0x00080012, 0x00080013, 0x00080014, 0x00080015, 0x00080054, 0x00080056, 0x04000561, 0xFFFAFFFA, 0xFFFCFFFC}
)
"""InstanceCreationDate, -Time, InstanceCreatorUID, InstanceCoercionDateTime, RetrieveAETitle, InstanceAvailability,
OriginalAttributesSequence, DigitalSignaturesSequence, DataSetTrailingPadding."""

_PLAIN: Final = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})


class _Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...


def hash_dicom_content(path: Path) -> str | None:
    """SHA-256 of the elements that can reach a result; None for what cannot be read as DICOM to its end."""
    try:
        dataset = read_whole(path, "file").dataset
        hasher = hashlib.sha256()
        if isinstance(dataset, FileDataset):
            syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
            hasher.update(b"" if syntax in _PLAIN else syntax.encode())
        _feed(hasher, dataset)
    except InputError:
        return None
    except Exception:  # the boundary: pydicom raises whatever the bytes lead it to
        return None
    return hasher.hexdigest()


def _feed(hasher: _Hasher, dataset: Dataset) -> None:
    for tag in sorted(dataset.keys()):
        if tag.is_private or tag.element == 0 or int(tag) in _HANDLING:
            continue
        element = dataset.get_item(tag)
        hasher.update(int(tag).to_bytes(4, "big"))
        if _is_sequence(element):
            items = dataset[tag].value or ()
            hasher.update(len(items).to_bytes(8, "big"))
            for item in items:
                _feed(hasher, item)
        else:
            value = element.value
            content = bytes(value) if isinstance(value, bytes | bytearray) else repr(value).encode()
            hasher.update(len(content).to_bytes(8, "big"))
            hasher.update(content)


def _is_sequence(element: DataElement | RawDataElement) -> bool:
    if element.VR is not None and element.VR != "UN":
        return bool(element.VR == "SQ")
    try:
        return dictionary_VR(element.tag) == "SQ"
    except KeyError:
        return False
