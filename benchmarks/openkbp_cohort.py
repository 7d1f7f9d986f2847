"""OpenKBP's patients as a cohort store, with the published split, for `vmat-rt train` and `vmat-rt evaluate`.

    python benchmarks/openkbp_cohort.py OPENKBP_FOLDER --cohort C [--seeds 42 123 456]

OPENKBP_FOLDER holds train/, validation/ and read_openkbp.py. Training patients are trained on, validation patients
choose; there is no test part here. Patients that are in the cohort already are kept, so that it can be resumed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tqdm import tqdm

from vmat_rt.bundle import GridRule
from vmat_rt.cohort.openkbp import PROTOCOL, OpenKbpPatient, case_from_openkbp
from vmat_rt.cohort.record import Origin, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.split import given_split
from vmat_rt.cohort.store import Cohort

SETTINGS = CohortSettings(
    name="openkbp",
    protocol=PROTOCOL,
    grid=GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.906, 3.906)),
    provenance=Provenance(
        data="OpenKBP patients (Babier et al., Med. Phys. 48(9), 5549-5561, 2021)",
        licence="MIT (github.com/ababier/open-kbp, copyright 2021 Aaron Babier)",
        simulated=False,
        command="python benchmarks/openkbp_cohort.py OPENKBP_FOLDER --cohort C",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 123, 456])
    options = parser.parse_args()
    sys.path.insert(0, str(options.openkbp))
    reader = importlib.import_module("read_openkbp")
    known = (options.cohort / "cohort.yaml").exists()
    cohort = Cohort.open(options.cohort) if known else Cohort.create(options.cohort, SETTINGS)
    present, parts = set(cohort.keys()), {}
    for split in ("train", "validation"):
        parts[split] = [f"pt-{number}" for number, _ in reader.list_patients(str(options.openkbp), split)]
        for number, path in tqdm(reader.list_patients(str(options.openkbp), split), split, unit="patient"):
            key = f"pt-{number}"
            if key not in present:
                case = case_from_openkbp(OpenKbpPatient.from_arrays(reader.read_patient(path)), key)
                cohort.add(case, describe(case, Origin(key=key, patient=key, source="openkbp")))
    cohort.reindex()
    splits = given_split(cohort, options.seeds, parts["train"], parts["validation"])
    splits.write(cohort)
    print(f"{len(cohort.keys())} patients, split {splits.sha256[:12]}")


if __name__ == "__main__":
    main()
