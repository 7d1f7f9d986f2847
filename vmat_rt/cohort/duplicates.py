"""Who is whom without names: hashes of images and studies, and patients joined where these say that they are one.

A patient who comes twice, under two numbers or from two archives, must not sit in train and in test.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from vmat_rt.case import Case, Volume
from vmat_rt.cohort.joining import join_links
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.geometry.rasterize import volume_cc

_HU_RANGE: Final = (-1000.0, 3000.0)
"""What lies beyond differs between exports of one image: padding below, metal cut at 12 bits above."""
_DOSE_STEP_GY: Final = 0.01


def hash_image(ct: Volume) -> str:
    """Hash the image: whole HU in canonical order (z, y, x), shape, and spacing to 0.01 mm.

    Another export of the image gives the same: UIDs, names and order of files, lossless compression, patient
    position, frame and origin, signedness, rescaling and padding do not matter. Lossy compression and cropping do.
    """
    hu = np.rint(np.clip(ct.array, *_HU_RANGE)).astype("<i2")
    return _hash_parts(_describe_geometry(ct), np.ascontiguousarray(hu).tobytes())


def hash_study(case: Case, image: str) -> str:
    """Hash what a network would learn from a case: its image (by hash), structures, prescription and dose.

    Structures count by name and volume to 0.1 cc, dose in steps of 0.01 Gy on its own grid, placed relative to the CT.
    """
    volumes = {name: f"{volume_cc(s):.1f}" for name, s in case.structures.items() if s.shape is not None}
    prescribed = {name: f"{dose:.2f}" for name, dose in case.prescription.dose_gy.items()}
    facts = repr((sorted(volumes.items()), sorted(prescribed.items()), case.prescription.fractions))
    dose = case.reference_dose
    if dose is None:
        return _hash_parts(image, facts)
    steps = np.rint(dose.array.astype(np.float64) / _DOSE_STEP_GY).astype("<i4")
    from_ct = np.subtract(dose.grid.origin_mm, case.ct.grid.origin_mm)
    placed = " ".join(f"{value:.1f}" for value in np.round(from_ct, 1) + 0.0)
    return _hash_parts(image, facts, _describe_geometry(dose), placed, np.ascontiguousarray(steps).tobytes())


def join_patients(records: Iterable[CaseRecord]) -> tuple[CaseRecord, ...]:
    """The records, where those that share an image share the patient."""
    records = tuple(records)
    stands_for = join_links((r.patient, r.image_sha256 or f"case {r.key}") for r in records)
    return tuple(record.model_copy(update={"patient": stands_for[record.patient]}) for record in records)


def find_shared_images(owners: Iterable[tuple[str, str, str]]) -> Mapping[str, frozenset[str]]:
    """Image hash -> keys of the cases that hold it, where they do so for more than one owner.

    owners are (image hash, case key, owner): a patient as the files name him.
    """
    cases_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for image, key, owner in owners:
        cases_of[image].add((key, owner))
    return {
        image: frozenset(key for key, _ in cases)
        for image, cases in cases_of.items()
        if image and len({owner for _, owner in cases}) > 1
    }


def _describe_geometry(volume: Volume) -> str:
    spacing = " ".join(f"{value:.2f}" for value in volume.grid.spacing_mm)
    return f"{volume.grid.shape} {spacing}"


def _hash_parts(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else part.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()
