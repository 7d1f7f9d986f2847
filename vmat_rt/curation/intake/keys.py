"""The key file: which random key stands for whom. It stays outside the cohort, readable by its owner only.

A line is written, and flushed to disk, before the case that it speaks of: a run that is killed leaves keys without
cases, never a case without its key. The last line of a key holds; a line that was cut off is dropped.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import secrets
import tempfile
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from vmat_rt.curation.intake.scan import is_placeholder
from vmat_rt.errors import ConfigError
from vmat_rt.system.publish import flush


@dataclass(frozen=True)
class Entry:
    """A line: a study (or what could not be read) as the files name it, and what stands for it.

    place: its folder. files_sha256: of the files, to know them again. study_sha256 and image_sha256: see
    vmat_rt.cohort.duplicates; empty until the study was read to its end, as are patient and run, which names the run
    that last read it.
    """

    key: str
    patient: str = ""
    PatientID: str = ""
    StudyInstanceUID: str = ""
    CTSeriesInstanceUID: str = ""
    StructureSetUID: str = ""
    place: str = ""
    files_sha256: str = ""
    study_sha256: str = ""
    image_sha256: str = ""
    run: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What the files say of the study; of unreadable files, where they lie."""
        uids = (self.StudyInstanceUID, self.CTSeriesInstanceUID, self.StructureSetUID)
        return (self.PatientID, *uids) if any(uids) else (self.PatientID, *uids, self.place)

    @property
    def person(self) -> str:
        """Whom it is of: shared by all studies of one PatientID; where that names nobody, by none."""
        return f"no PatientID {self.key}" if is_placeholder(self.PatientID) else f"PatientID {self.PatientID}"


COLUMNS = tuple(column.name for column in fields(Entry))


@dataclass(frozen=True)
class Claim:
    """What came of a claim: the entry as it stands now, or the key of the case that the study repeats."""

    entry: Entry
    repeats: str = ""


@dataclass(frozen=True)
class KeyFile:
    """The key file at `path`, shared by the processes of one run. run: a random name of this one."""

    path: Path
    run: str = field(default_factory=lambda: secrets.token_hex(5))

    @staticmethod
    def beside(cohort_folder: Path) -> Path:
        """Return where it lies unless --keys names another file."""
        return cohort_folder.with_name(f"{cohort_folder.name}.keys.csv")

    def entries(self) -> dict[str, Entry]:
        """Read the entries by key, in the order they came. Raises ConfigError when the file is not a key file."""
        try:
            return _parse_lines(self.path.read_bytes(), self.path)
        except FileNotFoundError:
            return {}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the key file for the one run that may add by it; tidies it up before and after.

        Raises ConfigError when another run is at it, or when it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock("run", wait=False):
            self._tidy()
            yield
            self._tidy()

    def register(self, seen: Entry) -> Entry:
        """The entry of this study: the one it has, or a new one with a random key."""
        with self._lock("line"):
            entries = self.entries()
            known = next((entry for entry in entries.values() if entry.identity == seen.identity), None)
            if known is not None:
                return known
            new = replace(seen, key=_draw_name("case", entries))
            self._append(new)
            return new

    def claim(self, read: Entry, stored: Container[str]) -> Claim:
        """Note hashes and patient of a study that was read, and whether it repeats another one.

        The patient is that of the same PatientID, else of the same image, else a new one.
        """
        with self._lock("line"):
            entries = self.entries()
            others = [entry for entry in entries.values() if entry.key != read.key and entry.patient]
            person = next((entry.patient for entry in others if entry.person == read.person), "")
            image = next((entry.patient for entry in others if entry.image_sha256 == read.image_sha256), "")
            patient = read.patient or person or image or _draw_name("patient", {entry.patient for entry in others})
            entry = replace(read, patient=patient, run=self.run)
            if entry != entries.get(read.key):
                self._append(entry)
            return Claim(entry, self._repeats(entry, others, stored))

    def find_repeated(self, known: Entry, stored: Container[str]) -> str:
        """The key of the case that a study read by an earlier run repeats, or ""."""
        others = [entry for entry in self.entries().values() if entry.key != known.key and entry.patient]
        return self._repeats(known, others, stored) if known.study_sha256 else ""

    def _repeats(self, read: Entry, others: Iterable[Entry], stored: Container[str]) -> str:
        """Another study counts when its case is stored, or when this run read it.

        Then it is being stored, or is refused as this one would be.
        """
        here = (entry for entry in others if entry.run == self.run or entry.key in stored)
        return next((entry.key for entry in here if entry.study_sha256 == read.study_sha256), "")

    def note(self, entries: Iterable[Entry]) -> None:
        """Entries as they are now; those that are so already cost nothing."""
        with self._lock("line"):
            known = self.entries()
            for entry in entries:
                if known.get(entry.key) != entry:
                    self._append(entry)

    def _append(self, entry: Entry) -> None:
        """Raises ConfigError when the file cannot be written."""
        with _name_failures(self.path), self.path.open("r+b") as file:
            file.seek(file.read().rfind(b"\n") + 1)
            file.truncate()
            file.write(_encode_line(asdict(entry).values()))
            file.flush()
            os.fsync(file.fileno())

    def _tidy(self) -> None:
        """One line a key, in a file that only its owner reads."""
        entries = self.entries()
        content = _encode_line(COLUMNS) + b"".join(_encode_line(asdict(entry).values()) for entry in entries.values())
        with _name_failures(self.path):
            if self.path.is_file() and self.path.read_bytes() == content:
                self.path.chmod(0o600)
                return
            descriptor, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)  # mode 0600
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
            flush(self.path.parent)

    @contextlib.contextmanager
    def _lock(self, name: str, wait: bool = True) -> Iterator[None]:
        path = self.path.with_name(f".{self.path.name}.{name}.lock")
        with _name_failures(self.path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ConfigError(f"another run is adding with the key file {self.path}; wait for its end") from None
            yield
        finally:
            os.close(descriptor)


def _encode_line(values: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(" ".join(value.splitlines()) for value in values)
    return text.getvalue().encode("utf-8", errors="replace")


def _parse_lines(content: bytes, path: Path) -> dict[str, Entry]:
    whole = content[: content.rfind(b"\n") + 1].decode("utf-8", errors="replace")
    rows = csv.reader(io.StringIO(whole, newline=""))
    if tuple(next(rows, COLUMNS)) != COLUMNS:
        raise ConfigError(f"{path} is not a key file of a cohort: its first line is another one")
    entries = (Entry(*row) for row in rows if len(row) == len(COLUMNS))
    return {entry.key: entry for entry in entries}


def _draw_name(kind: str, taken: Container[str]) -> str:
    """A random name, not yet `taken`."""
    name = f"{kind}-{secrets.token_hex(5)}"
    return _draw_name(kind, taken) if name in taken else name


@contextlib.contextmanager
def _name_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be written: {error.strerror}") from error
