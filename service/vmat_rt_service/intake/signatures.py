"""How files of the inbox are recognised again, as keyed digests, and what they are called once they are ours."""

from __future__ import annotations

from collections.abc import Iterable

from vmat_rt_service.intake.survey import Survey
from vmat_rt_service.journal.jobs import Journal


class Signatures:
    """Digests over examined files: their paths and versions stand in them, and cannot be read from them."""

    def __init__(self, journal: Journal, survey: Survey) -> None:
        self._journal, self._survey = journal, survey

    def sign(self, files: Iterable[str]) -> str:
        """What these very files are recognised by, after a restart too."""
        versions = self._survey.examined
        return self._journal.digest("files", *(f"{path}\0{versions[path][0].as_text()}" for path in sorted(files)))

    def collect_marks(self, files: Iterable[str]) -> list[str]:
        """What the rest of a job's files is recognised by when some were taken away: RTSTRUCT, CT series."""
        marks = set()
        for path in files:
            version, header = self._survey.examined[path]
            if header.kind == "RTSTRUCT":
                marks.add(self._journal.digest("own", path, version.as_text()))
            elif header.kind == "CT":
                marks.add(self._journal.digest("series", header.series))
        return sorted(marks)

    def digest_source(self, anchor: str) -> str:
        """What an incomplete group is recognised by while its files change."""
        return self._journal.digest("source", anchor)

    def name_files(self, files: Iterable[str]) -> list[tuple[str, str]]:
        """Neutral names: by kind, number and z. The site's own may hold the patient's."""
        counts: dict[str, int] = {}
        named = []
        for path in files:
            header = self._survey.examined[path][1]
            counts[header.kind] = counts.get(header.kind, 0) + 1
            z = f"_z{header.z_mm:g}mm" if header.z_mm is not None else ""
            named.append((path, f"{header.kind}_{counts[header.kind]:04d}{z}.dcm"))
        return named
