"""Studies with one thing wrong, drawn at random: values, sequences, encodings, files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

ABSURD = (b"", b"nan", b"-1", b"0", b"1e400", b"1.7e308", b"-1.7e308", b"x", b"\\\\", b"1\\2\\3\\4\\5\\6\\7")
ABSURD += (b"99999999999999999999", b"\x1b[2J\x1b]0;x\x07", b"\xff\xfe\x00\xd8", b"A" * 3000, b"1e-320", b"inf")
CHARACTER_SETS = ("ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "GB18030", "nothing known", "\\ISO 2022 IR 149")
VRS = ("UN", "LO", "IS", "DS", "SQ", "OB", "US", "FD", "PN", "UI", "AT")
Edit = Callable[[Dataset, random.Random], None]


def mutate(folder: Path, seed: int) -> str:
    """Do one thing to one file of a study, or to two; the same for the same seed. What it was, in a word or two."""
    lot = random.Random(seed)
    files = sorted(path for path in folder.rglob("*.dcm"))
    kinds = sorted({path.name[:2] for path in files})
    path = lot.choice([file for file in files if file.name[:2] == lot.choice(kinds)] or files)
    name = lot.choice([*EDITS, *FILES])
    if name in FILES:
        FILES[name](path, files, lot)
    else:
        ds = pydicom.dcmread(path)
        EDITS[name](ds, lot)
        _write(ds, path)
    return name


def _write(ds: Dataset, path: Path) -> None:
    implicit = ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    try:
        ds.save_as(path, implicit_vr=implicit, little_endian=True)
    except Exception:  # pydicom refuses to write some of it: then the file ends in the middle
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _all(ds: Dataset) -> list[tuple[Dataset, pydicom.tag.BaseTag]]:
    """Every element at every level; of long sequences the first items."""
    found = []
    for element in ds:
        found.append((ds, element.tag))
        if element.VR == "SQ":
            for item in element.value[:3]:
                found += _all(item)
    return found


def _sequences(ds: Dataset) -> list[tuple[Dataset, pydicom.tag.BaseTag]]:
    return [(owner, tag) for owner, tag in _all(ds) if owner[tag].VR == "SQ" and owner[tag].value]


def _absurd(ds: Dataset, lot: random.Random) -> None:
    owner, tag = lot.choice(_all(ds))
    text = lot.choice(ABSURD)
    owner[tag] = RawDataElement(tag, "UN", len(text), text, 0, False, True)


def _other_vr(ds: Dataset, lot: random.Random) -> None:
    owner, tag = lot.choice(_all(ds))
    owner[tag] = RawDataElement(tag, lot.choice(VRS), 4, b"\x01\x00\x02\x00", 0, False, True)


def _remove(ds: Dataset, lot: random.Random) -> None:
    owner, tag = lot.choice(_all(ds))
    del owner[tag]


def _scale(ds: Dataset, lot: random.Random) -> None:
    numbers = [(owner, tag) for owner, tag in _all(ds) if owner[tag].VR in ("DS", "FD", "FL")]
    if numbers:
        owner, tag = lot.choice(numbers)
        factor, value = lot.choice((-1.0, 0.0, 10.0, 1e6, 1e300)), owner[tag].value
        several = isinstance(value, pydicom.multival.MultiValue)
        owner[tag].value = [f"{float(v) * factor:.6g}"[:16] for v in value] if several else f"{factor:g}"


def _empty(ds: Dataset, lot: random.Random) -> None:
    for owner, tag in _sequences(ds)[lot.randrange(3) :][:1]:
        owner[tag].value = []


def _repeat(ds: Dataset, lot: random.Random) -> None:
    found = _sequences(ds)
    if found:
        owner, tag = lot.choice(found)
        owner[tag].value = list(owner[tag].value) * lot.choice((2, 30))


def _lose_items(ds: Dataset, lot: random.Random) -> None:
    found = _sequences(ds)
    if found:
        owner, tag = lot.choice(found)
        owner[tag].value = [item for item in owner[tag].value if lot.random() < 0.5]


def _nest(ds: Dataset, lot: random.Random) -> None:
    item = Dataset()
    for _ in range(lot.choice((3, 40))):
        outer = Dataset()
        outer.ROIContourSequence = [item]
        item = outer
    ds.ROIContourSequence = [item]


def _characters(ds: Dataset, lot: random.Random) -> None:
    ds.SpecificCharacterSet = lot.choice(CHARACTER_SETS)
    if "StructureSetROISequence" in ds:
        ds.StructureSetROISequence[0].add(
            RawDataElement(pydicom.tag.Tag("ROIName"), "LO", 4, b"\xe4\x1b$\x80", 0, False, True)  # type: ignore[arg-type]
        )


def _encode(ds: Dataset, lot: random.Random) -> None:
    ds.file_meta.TransferSyntaxUID = lot.choice((ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, "1.2.3.4"))


def _cut(path: Path, _files: list[Path], lot: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: lot.randrange(path.stat().st_size)])


def _flip(path: Path, _files: list[Path], lot: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(lot.randint(1, 20)):
        content[lot.randrange(len(content))] = lot.randrange(256)
    path.write_bytes(content)


def _swap(path: Path, files: list[Path], lot: random.Random) -> None:
    other = lot.choice(files)
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def _double(path: Path, files: list[Path], lot: random.Random) -> None:
    path.with_name("copy.dcm").write_bytes(lot.choice(files).read_bytes())


def _drop(path: Path, _files: list[Path], _lot: random.Random) -> None:
    path.unlink()


EDITS: dict[str, Edit] = {
    "absurd value": _absurd,
    "other VR": _other_vr,
    "attribute removed": _remove,
    "numbers scaled": _scale,
    "sequence emptied": _empty,
    "sequence repeated": _repeat,
    "items lost": _lose_items,
    "sequences nested": _nest,
    "character set": _characters,
    "encoding": _encode,
}
FILES: dict[str, Callable[[Path, list[Path], random.Random], None]] = {
    "file cut short": _cut,
    "bytes flipped": _flip,
    "files swapped": _swap,
    "file doubled": _double,
    "file lost": _drop,
}
