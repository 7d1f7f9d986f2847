"""What a simulation keeps beside the cases of a cohort: packed doses of its plans, and why plans were refused."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from vmat_rt.cohort.place import Place
from vmat_rt.errors import ConfigError

FOLDER = "simulated"
REFUSED = "refused.csv"


@dataclass(frozen=True)
class PlanFolder:
    """The folder `simulated` of a cohort: KEY.dose for each case, and refused.csv (key, reasons) with one writer."""

    place: Place

    @staticmethod
    def of(cohort: Place) -> PlanFolder:
        """Return the folder of the cohort at this place; it need not exist yet."""
        return PlanFolder(cohort.child(FOLDER))

    def has_dose(self, key: str) -> bool:
        return self.place.exists(_name_dose(key))

    def read_dose(self, key: str) -> bytes:
        """The packed dose of a case. Raises ConfigError when it is not there."""
        try:
            return self.place.read_bytes(_name_dose(key))
        except FileNotFoundError:
            message = f"the packed dose of case {key} is not in {self.place.root}: was it simulated into this cohort?"
            raise ConfigError(message) from None

    def write_dose(self, key: str, packed: bytes) -> None:
        self.place.write_bytes(_name_dose(key), packed)

    def refused(self) -> dict[str, str]:
        """Key -> reasons of every plan that was refused."""
        try:
            text = self.place.read_bytes(REFUSED).decode("utf-8")
        except FileNotFoundError:
            return {}
        return {row["key"]: row["reasons"] for row in csv.DictReader(text.splitlines())}

    def refuse(self, key: str, reasons: str) -> None:
        """Note one more; the file is written again as a whole, in the order of the keys."""
        refused = {**self.refused(), key: " ".join(reasons.split())}
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("key", "reasons"))
        writer.writerows(sorted(refused.items()))
        self.place.write_bytes(REFUSED, text.getvalue().encode("utf-8"))


def _name_dose(key: str) -> str:
    return f"{key}.dose"
