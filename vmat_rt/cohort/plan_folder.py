"""What a simulation keeps beside the cases of a cohort: packed doses of its plans, and why plans were refused."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from vmat_rt.errors import ConfigError
from vmat_rt.publish import flush

FOLDER = "simulated"
REFUSED = "refused.csv"


@dataclass(frozen=True)
class PlanFolder:
    """The folder `simulated` of a cohort on a local disk: KEY.dose for each case, refused.csv (key, reasons)."""

    path: Path

    @staticmethod
    def of(cohort_uri: str) -> PlanFolder:
        """That of a cohort. Raises ConfigError when the cohort lies elsewhere than on a local disk."""
        local = cohort_uri.removeprefix("file://")
        if "://" in local:
            raise ConfigError(f"simulate into a folder and copy it: {cohort_uri} is not on a local disk")
        return PlanFolder(Path(local) / FOLDER)

    def has_dose(self, key: str) -> bool:
        return self._dose(key).is_file()

    def read_dose(self, key: str) -> bytes:
        """The packed dose of a case. Raises ConfigError when it is not there."""
        try:
            return self._dose(key).read_bytes()
        except FileNotFoundError as error:
            raise ConfigError(f"the plan of case {key} is not in {self.path}: was it simulated here?") from error

    def write_dose(self, key: str, packed: bytes) -> None:
        _write_whole(self._dose(key), packed)

    def refused(self) -> dict[str, str]:
        """Key -> reasons of every plan that was refused."""
        path = self.path / REFUSED
        if not path.is_file():
            return {}
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return {row["key"]: row["reasons"] for row in rows}

    def refuse(self, key: str, reasons: str) -> None:
        """Note one more; the file is written anew, in the order of the keys."""
        refused = {**self.refused(), key: " ".join(reasons.split())}
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("key", "reasons"))
        writer.writerows(sorted(refused.items()))
        _write_whole(self.path / REFUSED, text.getvalue().encode("utf-8"))

    def _dose(self, key: str) -> Path:
        return self.path / f"{key}.dose"


def _write_whole(path: Path, content: bytes) -> None:
    """The file appears with all of its content or not at all, whatever dies when. One writer a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    flush(partial)
    partial.replace(path)
    flush(path.parent)
