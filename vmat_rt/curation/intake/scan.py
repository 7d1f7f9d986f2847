"""A folder of thousands of studies -> groups of files that can be read apart from one another.

Every header is read once, by many processes. What was found lies in a temporary database that SQLite has unlinked from
its folder: it spills to disk instead of memory, and whatever ends this process ends it too.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from vmat_rt.cohort.joining import join_links
from vmat_rt.dicom.copies import without_copies
from vmat_rt.dicom.files import DicomFile, Kind, Scan, identify, regular_files
from vmat_rt.errors import InputError, Problem
from vmat_rt.system.processes import run_tasks, yield_in_order

_BATCH: Final = 64
_FEW: Final = 16
_COLUMNS: Final = "path, kind, sop_uid, patient, study_uid, series_uid, frame_uid, label, localizer, patient_id"
_PLACEHOLDERS: Final = frozenset(
    {"anon", "anonym", "anonymous", "anonymised", "anonymized", "anonymisiert", "anonyme", "anonymouspatient"}
    | {"deidentified", "removed", "redacted", "unknown", "none", "null", "nil", "na", "noid", "noname", "dummy"}
    | {"patient", "patientid", "patientname", "name", "test", "testpatient"}
)

Found = DicomFile | Problem | None
Paths = tuple[Path, ...]


@dataclass(frozen=True)
class Group:
    """Files of one patient, as they name him, none of which belongs to a file of another group.

    problems: what could not be read, each with the folder that it lies in. A group without files holds those of a
    folder in which it is unknown to which patient they belonged. divided: other files of its studies name another
    patient.
    """

    files: tuple[DicomFile, ...]
    problems: tuple[tuple[str, Problem], ...] = ()
    divided: bool = False


def is_placeholder(patient_id: str) -> bool:
    """Whether a PatientID does not name a patient: empty, a word such as ANONYMOUS, or only zeros, X, punctuation."""
    folded = "".join(character for character in patient_id.casefold() if character.isalnum())
    return folded in _PLACEHOLDERS or not folded.strip("0x")


class FolderIndex:
    """What lies below a folder, by patient. A context manager: the database goes when it ends."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute(f"CREATE TABLE file ({_COLUMNS}, folder, owner)")
        self._problems: dict[str, list[Problem]] = defaultdict(list)
        self._root = Path()
        self.others = 0

    def __enter__(self) -> FolderIndex:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._database.close()

    def fill(self, root: Path, workers: int, progress: bool) -> None:
        """Read the header of every file below `root`; the first few here, many by processes.

        Raises InputError when there is no such folder.
        """
        if not root.exists():
            raise InputError(Problem("NO_FOLDER", f"There is no folder {root}.", "Give the folder with the studies."))
        self._root = root
        batches = walk_in_batches(root)
        with tqdm(unit="file", desc="headers", disable=None if progress else True) as bar:
            few = ((batch, identify_all(batch)) for batch in itertools.islice(batches, _FEW))
            for batch, found in itertools.chain(few, _identify_files(batches, workers)):
                for path, one in zip(batch, found, strict=True):
                    self._note_found(path, one)
                bar.update(len(batch))
        self._database.execute("CREATE INDEX whose ON file (patient, study_uid, frame_uid)")
        self._database.execute("CREATE INDEX whole ON file (study_uid, patient)")
        self._database.execute("CREATE INDEX lies ON file (folder, owner)")

    def _note_found(self, path: Path, found: Found) -> None:
        if isinstance(found, DicomFile) and found.kind is not Kind.OTHER:
            owner = f"{found.patient}\n{found.study_uid}" if is_placeholder(found.patient_id) else found.patient
            values = [str(getattr(found, name)) for name in _COLUMNS.split(", ")]
            self._database.execute(
                f"INSERT INTO file VALUES ({', '.join('?' * 12)})", (*values, str(path.parent), owner)
            )
        elif isinstance(found, Problem) and found.severity == "error":
            self._problems[str(path.parent)].append(found)
        else:
            self.others += 1

    @property
    def files(self) -> int:
        """How many usable files there are."""
        return int(self._database.execute("SELECT COUNT(*) FROM file").fetchone()[0])

    @property
    def unreadable(self) -> int:
        """How many files begin like DICOM and cannot be read."""
        return sum(map(len, self._problems.values()))

    def some(self, kind: Kind, most: int) -> tuple[DicomFile, ...]:
        """The first files of a kind, in path order."""
        return self._select("kind = ?", (str(kind),), most)

    def count(self, kind: Kind) -> int:
        """How many different instances of a kind there are."""
        row = self._database.execute("SELECT COUNT(DISTINCT sop_uid) FROM file WHERE kind = ?", (str(kind),))
        return int(row.fetchone()[0])

    def groups(self, deidentified: bool = False) -> Iterator[Group]:
        """All of one patient together; where his name stands for many, by study and frame of reference.

        deidentified: PatientIDs tell nothing. All of one study together where it has CT and structures, else all below
        one folder of the root.
        """
        if deidentified:
            yield from self._groups_by_place()
            return
        owners_of = {folder: self._count_owners(folder) for folder in self._problems}
        lost = [folder for folder, owners in owners_of.items() if owners != 1]
        for folder in lost:
            yield Group((), tuple((folder, problem) for problem in self._problems[folder]))
        for (patient,) in self._database.execute("SELECT DISTINCT patient FROM file ORDER BY patient").fetchall():
            for files in self._divide_patient(patient):
                folders = sorted({str(file.path.parent) for file in files} & (owners_of.keys() - set(lost)))
                problems = tuple((folder, problem) for folder in folders for problem in self._problems[folder])
                yield Group(_drop_copies(files), problems, self._is_divided(files))

    def _groups_by_place(self) -> Iterator[Group]:
        kinds: dict[str, set[str]] = defaultdict(set)
        for study, kind in self._database.execute("SELECT DISTINCT study_uid, kind FROM file"):
            kinds[study].add(Kind.CT if kind == Kind.ENHANCED_CT else kind)
        places: dict[str, list[DicomFile]] = defaultdict(list)
        for file in self._select("1", ()):
            whole = {Kind.CT, Kind.STRUCTURES} <= kinds[file.study_uid]
            places[f"study {file.study_uid}" if whole else f"folder {self._top(file.path)}"].append(file)
        held = [{str(file.path.parent) for file in files} for files in places.values()]
        for files, folders in zip(places.values(), held, strict=True):
            yield Group(_drop_copies(tuple(files)), self._problems_in(folders))
        alone = set(self._problems).difference(*held)
        yield from (Group((), self._problems_in({folder})) for folder in sorted(alone))

    def _problems_in(self, folders: set[str]) -> tuple[tuple[str, Problem], ...]:
        return tuple((folder, problem) for folder in sorted(folders) for problem in self._problems.get(folder, ()))

    def _top(self, path: Path) -> str:
        """The folder right below the root in which a file lies, however deep."""
        parts = path.relative_to(self._root).parts
        return parts[0] if len(parts) > 1 else ""

    def _is_divided(self, files: tuple[DicomFile, ...]) -> bool:
        sql = "SELECT COUNT(DISTINCT patient) FROM file WHERE study_uid = ?"
        studies = {file.study_uid for file in files} - {""}
        return any(self._database.execute(sql, (study,)).fetchone()[0] > 1 for study in studies)

    def _count_owners(self, folder: str) -> int:
        row = self._database.execute("SELECT COUNT(DISTINCT owner) FROM file WHERE folder = ?", (folder,))
        return int(row.fetchone()[0])

    def _divide_patient(self, patient: str) -> Iterator[tuple[DicomFile, ...]]:
        rows = self._database.execute("SELECT DISTINCT patient_id FROM file WHERE patient = ?", (patient,)).fetchall()
        if not all(is_placeholder(patient_id) for (patient_id,) in rows):
            yield self._select("patient = ?", (patient,))
            return
        sql = "SELECT DISTINCT study_uid, frame_uid, kind FROM file WHERE patient = ?"
        for pairs in _join_components(self._database.execute(sql, (patient,)).fetchall()):
            files = [
                self._select("patient = ? AND study_uid = ? AND frame_uid = ?", (patient, *pair)) for pair in pairs
            ]
            yield tuple(sorted(itertools.chain(*files), key=lambda file: file.path))

    def _select(self, where: str, values: tuple[str, ...], most: int = -1) -> tuple[DicomFile, ...]:
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM file WHERE {where} ORDER BY path LIMIT {most}", values)
        return tuple(_make_file(dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in rows)


def walk_in_batches(root: Path) -> Iterator[Paths]:
    """Every file below the folder, some at a time."""
    walk = regular_files(root)
    while batch := tuple(itertools.islice(walk, _BATCH)):
        yield batch


def _identify_files(
    batches: Iterator[tuple[Path, ...]], workers: int
) -> Iterator[tuple[tuple[Path, ...], tuple[Found, ...]]]:
    for batch in yield_in_order(run_tasks(identify_all, batches, workers, queued=3 * workers)):
        yield batch.task, batch.result()


def identify_all(paths: Paths) -> tuple[Found, ...]:
    """What each file is; for worker processes."""
    return tuple(identify(path, path.name) for path in paths)


def _make_file(row: dict[str, str]) -> DicomFile:
    path, kind, localizer = Path(row.pop("path")), Kind(row.pop("kind")), row.pop("localizer") == "True"
    return DicomFile(path=path, kind=kind, localizer=localizer, **row)


def _join_components(rows: Iterable[tuple[str, str, str]]) -> Iterator[list[tuple[str, str]]]:
    """(study, frame) pairs that are joined by a study or a frame.

    What lacks a CT or a structure set is joined to all that lacks the other: an RTSTRUCT may name its frame only where
    a header does not show it.
    """
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for study, frame, kind in rows:
        kinds[study, frame].add(kind)
    links = [(f"{study}\n{frame}", name) for study, frame in kinds for name in (f"s{study}", f"f{frame}") if name[1:]]
    stands_for = join_links(links)
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for study, frame in kinds:
        parts[stands_for.get(f"{study}\n{frame}", "")].append((study, frame))
    held = {name: set().union(*(kinds[pair] for pair in pairs)) for name, pairs in parts.items()}
    halves = [name for name in parts if not {Kind.CT, Kind.STRUCTURES} <= held[name]]
    if {Kind.CT, Kind.STRUCTURES} <= set().union(*(held[name] for name in halves)):
        yield [pair for name in halves for pair in parts[name]]
        halves, parts = [], {name: pairs for name, pairs in parts.items() if name not in halves}
    yield from parts.values()


def _drop_copies(files: tuple[DicomFile, ...]) -> tuple[DicomFile, ...]:
    """One of every instance that lies in several folders, but for files that differ, which are refused together."""
    return without_copies(Scan(files, (), 0)).files
