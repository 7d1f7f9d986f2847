"""After an intake: patients who turned out to be one get one name, in the cohort and in the key file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vmat_rt.cohort.duplicates import find_shared_images
from vmat_rt.cohort.joining import join_links
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.keys import Entry, KeyFile


@dataclass(frozen=True)
class People:
    """patients: in the cohort. joined: how many were found to be another. shared: cases whose image has more owners."""

    patients: int
    joined: int
    shared: int


def join_people(cohort: Cohort, keys: KeyFile | None = None) -> People:
    """Give all cases of one PatientID, or of one image, the same patient; note DUPLICATE_IMAGE where owners differ.

    Doing it again changes nothing, so a run that is killed leaves nothing that the next one does not mend.
    """
    records = cohort.records()
    entries = {} if keys is None else keys.entries()
    stands_for = join_links(_collect_links(records, entries.values()))
    shared = set().union(*find_shared_images(_collect_owners(records, entries)).values()) & {
        record.key for record in records
    }
    for record in records:
        patient, codes = stands_for[record.patient], ("DUPLICATE_IMAGE",) if record.key in shared else ()
        if patient != record.patient or not {*codes} <= {*record.problems}:
            cohort.amend(record.key, patient, codes)
    if keys is not None:
        keys.note(replace(e, patient=stands_for[e.patient]) for e in entries.values() if e.patient)
    patients = {stands_for[record.patient] for record in records}
    renamed = sum(patient != other for patient, other in stands_for.items())
    return People(len(patients), renamed, len(shared))


def _collect_links(records: Iterable[CaseRecord], entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    for record in records:
        yield record.patient, f"image {record.image_sha256}" if record.image_sha256 else f"case {record.key}"
    for entry in entries:
        if entry.patient:
            yield entry.patient, entry.person
            yield entry.patient, f"image {entry.image_sha256}"


def _collect_owners(records: Iterable[CaseRecord], entries: dict[str, Entry]) -> Iterator[tuple[str, str, str]]:
    for record in records:
        if record.key not in entries:
            yield record.image_sha256, record.key, f"patient {record.patient}"
    for entry in entries.values():
        yield entry.image_sha256, entry.key, entry.person
