"""Writes into bundles the range of what they learned: fractions, doses, levels and volumes of their training cases.

    python tools/describe_learned.py BUNDLE [BUNDLE ...] --cohort C

C is a cohort's store, or a simulated cohort as it ships (sample_data/prostate_cohort): its records are enough. Training
cases are known by the hash of their image, else by their key. A model card gets the range as a section. Weights and
trees stay as they are; the SHA-256 of the bundle changes, which is said. Printed beside: how many of the cohort's other
cases the range warns about or refuses, which are its false alarms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vmat_rt.bundle import TRAINING_CASES, Bundle, load_bundle, write_bundle
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.shipped import DESCRIPTION, DOSES, read_shipped
from vmat_rt.learned import CARD_TITLE, Learned, learned_from
from vmat_rt.protocol import load_protocol
from vmat_rt.study.outside import outside
from vmat_rt.train.package import CARD


def records_of(cohort: str) -> tuple[CaseRecord, ...]:
    folder = Path(cohort)
    if (folder / DOSES).is_dir() and (folder / DESCRIPTION).is_file():
        return tuple(case.record for case in read_shipped(folder).cases)
    return Cohort.open(cohort).records()


def trained_on(bundle: Bundle, records: tuple[CaseRecord, ...]) -> list[CaseRecord]:
    """The records of the bundle's training cases. Raises SystemExit where one is not in the cohort."""
    wanted: dict[str, str] = json.loads(bundle.read_bytes(TRAINING_CASES))
    by_image = {record.image_sha256: record for record in records if record.image_sha256}
    by_key = {record.key: record for record in records}
    found = {key: by_image.get(image) or by_key.get(key) for key, image in wanted.items()}
    absent = [key for key, record in found.items() if record is None]
    if absent:
        raise SystemExit(f"{bundle.manifest.name}: {len(absent)} of {len(wanted)} training cases are not in the cohort")
    return [record for record in found.values() if record is not None]


def with_section(card: str, learned: Learned) -> str:
    """The model card with the section on what was learned before that on the data's results, once."""
    if CARD_TITLE in card:
        before, rest = card.split(CARD_TITLE, 1)
        card = before + rest[rest.index("\n## ") + 1 :]
    before, after = card.split("## Results", 1)
    return f"{before}{learned.card_section()}\n## Results{after}"


def amended(bundle: Bundle, records: tuple[CaseRecord, ...]) -> Bundle:
    site = load_protocol(bundle.manifest.protocol).site
    learned = learned_from(site, (record.treatment() for record in trained_on(bundle, records)))
    files = {name: bundle.read_bytes(name) for name in bundle.manifest.files}
    if CARD in files:
        files[CARD] = with_section(files[CARD].decode(), learned).encode()
    return write_bundle(bundle.folder, bundle.manifest.model_copy(update={"learned": learned}), files)


def false_alarms(bundle: Bundle, records: tuple[CaseRecord, ...]) -> str:
    learned, seen = bundle.manifest.learned, {record.key for record in trained_on(bundle, records)}
    assert learned is not None
    others = [record for record in records if record.key not in seen]
    found = {record.key: list(outside(learned, record.treatment(), learned.site)) for record in others}
    refused = sum(any(p.severity == "error" for p in problems) for problems in found.values())
    warned = sum(bool(problems) for problems in found.values()) - refused
    said = [f"    {key}: {problem.message}" for key, problems in found.items() for problem in problems]
    return "\n".join([f"  of {len(others)} other cases {warned} warned about, {refused} refused", *said])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--cohort", required=True, help="folder or URL of a store, or a simulated cohort as it ships")
    options = parser.parse_args()
    records = records_of(options.cohort)
    for folder in options.bundles:
        old = load_bundle(folder)
        new = amended(old, records)
        assert new.manifest.learned is not None
        print(f"{new.manifest.name}: {old.identity.sha256[:12]} -> {new.identity.sha256[:12]}")
        print("\n".join(f"  {sentence}" for sentence in new.manifest.learned.sentences()))
        print(false_alarms(new, records))


if __name__ == "__main__":
    main()
