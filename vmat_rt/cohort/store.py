"""Cohort: cases on one kind of grid, in a folder or an object store, added and read by many processes at once.

    cohort.yaml                 settings, and the content hash of each case as of the last `reindex`
    cases/<key>.zarr            a case's arrays (vmat_rt.cohort.arrays); record.json in it is written last
    splits.yaml, refused.csv    see vmat_rt.cohort.split and vmat_rt.curation.intake

A case is there when its record is. Nothing is shared between cases, so adding one rewrites no file of another.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from pydantic import Field, ValidationError

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.cohort.arrays import ArrayLayout, CaseArrays, Patch, name_damage, write_arrays
from vmat_rt.cohort.place import Place
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.settings import SCHEMA_VERSION, CohortSettings
from vmat_rt.errors import ConfigError, InputError, Problem, raise_errors
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import check_cut_off, model_grid
from vmat_rt.grid import Shape
from vmat_rt.strict import YamlError, load_yaml, reason

HEAD: Final = "cohort.yaml"
CASES: Final = "cases"
RECORD: Final = "record.json"
_SUFFIX: Final = ".zarr"
_SHIPPED: Final = frozenset({"settings", "versions", "cases"})
"""Keys of cohort.yaml in a cohort as it ships; see vmat_rt.curation.shipped."""


class _Head(CohortSettings):
    """The content of cohort.yaml."""

    cases: dict[str, str] = Field(default_factory=dict)

    def settings(self) -> CohortSettings:
        return CohortSettings.model_validate(self.model_dump(exclude={"cases"}))


class Cohort:
    """A cohort that exists. `Cohort.create` and `Cohort.open` make one."""

    def __init__(self, place: Place, settings: CohortSettings) -> None:
        self.place = place
        self.settings = settings
        self._cases = place.child(CASES)

    @staticmethod
    def exists(uri: str | Path) -> bool:
        """Whether a cohort is there, readable or not."""
        return Place.at(uri).exists(HEAD)

    @staticmethod
    def create(uri: str | Path, settings: CohortSettings) -> Cohort:
        """An empty cohort. Raises ConfigError when there is one already."""
        place = Place.at(uri)
        if place.exists(HEAD):
            raise ConfigError(f"{uri} is a cohort already; open it, or give another folder")
        place.write_bytes(HEAD, _encode_yaml(settings, {}))
        return Cohort(place, settings)

    @staticmethod
    def open(uri: str | Path) -> Cohort:
        """Raises ConfigError when there is none, when a newer vmat-rt wrote it, or when cohort.yaml is damaged."""
        place = Place.at(uri)
        return Cohort(place, _read_head(place, str(uri)).settings())

    def keys(self) -> tuple[str, ...]:
        """List the keys of the cases that are complete, sorted."""
        return tuple(
            name.removesuffix(_SUFFIX) for name in self._cases.find_folders_with(RECORD) if name.endswith(_SUFFIX)
        )

    def records(self) -> tuple[CaseRecord, ...]:
        """Read all records in the order of their keys. Raises InputError (CASE_DAMAGED)."""
        return tuple(self.record(key) for key in self.keys())

    def record(self, key: str) -> CaseRecord:
        """Raises ConfigError when there is no such case, InputError (CASE_DAMAGED)."""
        try:
            content = self._find_folder(key).read_bytes(RECORD)
        except FileNotFoundError:
            raise ConfigError(f"the cohort {self.settings.name} has no case {key}") from None
        with name_damage(key, "its record"):
            return CaseRecord.model_validate_json(content)

    def add(self, case: Case, record: CaseRecord, replace: bool = False) -> CaseRecord:
        """Put the case on the cohort's grid and store it whole or not at all. The record with its content hash.

        Raises ConfigError when the key is taken and not to be replaced, InputError when the case cannot be used on
        this grid (NO_TARGET, NO_BODY, STRUCTURE_CUT_OFF, VALUES_NOT_FINITE) or the disk is full.
        """
        if not replace and self._find_folder(record.key).exists(RECORD):
            raise ConfigError(_describe_taken(record.key))
        placed, codes = self._lay_on_grid(case)
        problem_codes = dict.fromkeys((*record.problems, *codes))
        record = record.model_copy(update={"problems": tuple(problem_codes)})
        try:
            with self._cases.published(record.key + _SUFFIX, RECORD, replace) as place:
                layout = write_arrays(place, placed)
                record = record.model_copy(update={"content_sha256": hash_content(record, layout)})
                place.write_bytes(RECORD, record.model_dump_json(indent=1).encode())
        except FileExistsError:
            raise ConfigError(_describe_taken(record.key)) from None
        return record

    def amend(self, key: str, patient: str, codes: tuple[str, ...] = ()) -> CaseRecord:
        """Give a case another patient and further problem codes; its arrays stay. The record as it stands then.

        Raises ConfigError when there is no such case, InputError (CASE_DAMAGED).
        """
        old = self.record(key)
        problems = tuple(dict.fromkeys((*old.problems, *codes)))
        new = CaseRecord.model_validate({**old.model_dump(), "patient": patient, "problems": problems})
        new = new.model_copy(update={"content_sha256": hash_content(new, self.arrays(key).layout)})
        if new != old:
            self._find_folder(key).write_bytes(RECORD, new.model_dump_json(indent=1).encode())
        return new

    def read(self, key: str) -> Case:
        """The whole case on its grid, in the frame "cohort:<key>".

        Raises ConfigError when there is no such case, InputError (CASE_DAMAGED, CASE_CHANGED) when its arrays are not
        what was written.
        """
        record, arrays = self.record(key), self.arrays(key)
        whole = arrays.read()
        changed = arrays.changed(whole)
        if changed:
            raise InputError(_describe_change(key, changed))
        return _make_case(record, arrays.layout, whole)

    def arrays(self, key: str) -> CaseArrays:
        """Open a case's arrays. Raises ConfigError when there is no such case, InputError (CASE_DAMAGED)."""
        if not self._find_folder(key).exists(RECORD):
            raise ConfigError(f"the cohort {self.settings.name} has no case {key}")
        return CaseArrays(self._find_folder(key), key)

    def read_patch(self, key: str, start: Shape, stop: Shape) -> Patch:
        """Voxels from `start` (inclusive) to `stop` (exclusive), (z, y, x). Only damage to chunks read is noticed."""
        return self.arrays(key).read(start, stop)

    def sha256(self, keys: tuple[str, ...] | None = None) -> str:
        """Hash the contents of these cases, or of all; those with a damaged record as cohort.yaml lists them."""
        return canonical_sha256({key: self.content(key) for key in (self.keys() if keys is None else keys)})

    def content(self, key: str) -> str:
        """Return a case's content hash; where its record is damaged, the hash that cohort.yaml lists, or an empty one.

        Raises ConfigError when there is no such case.
        """
        try:
            return self.record(key).content_sha256
        except InputError:
            return _read_head(self.place, self.place.root).cases.get(key, "")

    def reindex(self) -> dict[str, str]:
        """List every case's content hash in cohort.yaml, as the end of a batch of adding. Key -> hash."""
        with self.place.locked():
            cases = {record.key: record.content_sha256 for record in self.records()}
            self.place.write_bytes(HEAD, _encode_yaml(self.settings, cases))
        return cases

    def check(self) -> tuple[Problem, ...]:
        """Read everything; name each case that is damaged, changed, or not as cohort.yaml lists it."""
        keys, listed = self.keys(), _read_head(self.place, self.place.root).cases
        problems = [problem for key in keys for problem in self._check(key, listed)]
        absent = sorted(listed.keys() - set(keys))
        return (*problems, *(_describe_unlike(key, "is listed in cohort.yaml but absent") for key in absent))

    def _check(self, key: str, listed: dict[str, str]) -> list[Problem]:
        try:
            record, arrays = self.record(key), self.arrays(key)
            changed = arrays.changed(arrays.read())
        except InputError as damage:
            return list(damage.problems)
        if record.key != key or hash_content(record, arrays.layout) != record.content_sha256:
            changed = (*changed, "record")
        problems = [_describe_change(key, changed)] if changed else []
        if listed.get(key) != record.content_sha256:
            how = "is not listed in cohort.yaml" if key not in listed else "is not the one that cohort.yaml lists"
            problems.append(_describe_unlike(key, how))
        return problems

    def _find_folder(self, key: str) -> Place:
        return self._cases.child(key + _SUFFIX)

    def _lay_on_grid(self, case: Case) -> tuple[Case, tuple[str, ...]]:
        """The case on the cohort's grid, and the codes of warnings about what the grid cuts off."""
        grid = model_grid(self.settings.grid, case)
        problems = check_cut_off(case, grid)
        volumes = [case.ct] + ([] if case.reference_dose is None else [case.reference_dose])
        if not all(np.isfinite(volume.array).all() for volume in volumes):
            message = "The CT or the dose holds values that are not finite."
            problems = (*problems, Problem("VALUES_NOT_FINITE", message, "Export the study again."))
        raise_errors(problems)
        placed = gridded(case, grid)
        if not isinstance(placed.body.shape, Volume) or not placed.body.shape.array.any():
            message = f"No part of the body lies on the cohort's grid of {grid.describe()}."
            raise InputError(Problem("NO_BODY", message, "Check the External contour and the position of the targets."))
        return placed, tuple(problem.code for problem in problems)


def canonical_sha256(value: Any) -> str:
    """Hash a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_content(record: CaseRecord, layout: ArrayLayout) -> str:
    """Hash a case: its record, its grid and, through their hashes, its arrays."""
    fields = record.model_dump(mode="json", exclude={"content_sha256"})
    return canonical_sha256({"record": fields, "layout": layout.model_dump(mode="json")})


def _make_case(record: CaseRecord, layout: ArrayLayout, whole: Patch) -> Case:
    grid = whole.grid
    structures = {name: Structure(name, name, Volume(grid, whole.fraction(name))) for name in whole.names}
    if layout.body < len(whole.names):
        body = structures[whole.names[layout.body]]
    else:
        body = Structure(layout.body_name, layout.body_name, Volume(grid, whole.body))
    dose = whole.dose
    return Case(
        key=record.key,
        ct=Volume(grid, whole.ct),
        structures=structures,
        body=body,
        prescription=record.prescribed(),
        protocol_name=record.protocol,
        reference_dose=None if dose is None else Volume(grid, dose),
        gantry_angles_deg=record.gantry_angles_deg,
        problems=record.warnings(),
    )


def _encode_yaml(settings: CohortSettings, cases: dict[str, str]) -> bytes:
    head = {**settings.model_dump(mode="json"), "cases": cases}
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True).encode()


def _read_head(place: Place, named: str) -> _Head:
    try:
        document = load_yaml(place.read_bytes(HEAD))
    except FileNotFoundError:
        raise ConfigError(f"{named} is not a cohort: it has no {HEAD}") from None
    except YamlError as error:
        raise ConfigError(f"{named}: {HEAD} is damaged: {error}; restore it from a copy") from error
    if isinstance(document, dict) and document.keys() >= _SHIPPED:
        raise ConfigError(
            f"{named} is a cohort as it ships (seeds and packed doses, no arrays); "
            f"unpack it with `vmat-rt cohort restore {named} --cohort DIR`"
        )
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"{named} was written by a newer vmat-rt (schema {version}, this one reads up to {SCHEMA_VERSION}); "
            "update vmat-rt to read it"
        )
    try:
        return _Head.model_validate_json(json.dumps(document))
    except (ValidationError, TypeError) as error:
        raise ConfigError(f"{named}: {HEAD} is not that of a cohort: {reason(error)}") from error


def _describe_taken(key: str) -> str:
    return f"the cohort has a case {key} already; ask to replace it, or give another key"


def _describe_change(key: str, what: tuple[str, ...]) -> Problem:
    message = f"Case {key} of the cohort is not what was written: {', '.join(what)}."
    return Problem("CASE_CHANGED", message, "Restore its folder from a copy, or add it again.")


def _describe_unlike(key: str, how: str) -> Problem:
    return Problem("CASE_UNLISTED", f"Case {key} {how}.", "Run `Cohort.reindex` if that is as it should be.")
