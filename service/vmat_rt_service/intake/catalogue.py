"""The examined files of the inbox, indexed by what links them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from vmat_rt_service.intake.headers import Header


class Catalogue:
    """Files by SOP instance, series, frame of reference and folder. Paths are keys, digests are what links them."""

    def __init__(self, headers: Mapping[str, Header]) -> None:
        self.headers = headers
        self.structures: list[str] = []
        self.plans: list[str] = []
        self.doses: list[str] = []
        self.damaged: list[str] = []
        self.unreadable: list[str] = []
        self.costly: list[str] = []
        self.broken: list[str] = []
        self.ct_by_sop: dict[str, list[str]] = defaultdict(list)
        self.ct_by_series: dict[str, list[str]] = defaultdict(list)
        self.series_by_frame: dict[str, set[str]] = defaultdict(set)
        self.patients_by_folder: dict[str, set[str]] = defaultdict(set)
        self.structures_by_folder: dict[str, int] = defaultdict(int)
        lists = {"RTSTRUCT": self.structures, "RTPLAN": self.plans, "RTDOSE": self.doses,
                 "damaged": self.damaged, "unreadable": self.unreadable, "costly": self.costly,
                 "broken": self.broken}  # fmt: skip
        for path in sorted(headers):
            header = headers[path]
            if header.kind == "CT":
                self._add_ct(path, header)
            elif header.kind in lists:
                lists[header.kind].append(path)
            if header.patient:
                self.patients_by_folder[find_folder_of(path)].add(header.patient)
            if header.kind == "RTSTRUCT":
                self.structures_by_folder[find_folder_of(path)] += 1

    def _add_ct(self, path: str, header: Header) -> None:
        self.ct_by_sop[header.sop].append(path)
        self.ct_by_series[header.series].append(path)
        for frame in header.frames:
            self.series_by_frame[frame].add(header.series)

    def find_ct_near(self, series: Iterable[str], home: str) -> list[str]:
        """One file for each CT instance of these series: of several copies the one nearest to `home`."""
        by_sop: dict[str, list[str]] = defaultdict(list)
        for one in series:
            for path in self.ct_by_series[one]:
                by_sop[self.headers[path].sop].append(path)
        chosen = [find_nearest(paths, home) for paths in by_sop.values()]
        return sorted(chosen, key=lambda p: (self.headers[p].series, self.headers[p].z_mm or 0.0, p))

    def find_beside(self, files: Iterable[str], lost: Iterable[str]) -> list[str]:
        """Which of the lost (damaged or costly) files lie in folders of a group where only this group can miss them."""
        folders = {find_folder_of(path) for path in files}
        own = {f for f in folders if len(self.patients_by_folder[f]) == 1 and self.structures_by_folder[f] <= 1}
        return [path for path in lost if find_folder_of(path) in own]

    def find_claimed_frames(self, apart_from: str) -> set[str]:
        """The frames of reference of the other RTSTRUCTs."""
        return {f for path in self.structures if path != apart_from for f in self.headers[path].frames}


def find_folder_of(path: str) -> str:
    return os.path.dirname(path)  # noqa: PTH120 - paths are plain text here: there are very many


def find_nearest(paths: list[str], home: str) -> str:
    """The path that shares most of its folders with `home`; among equals the first by name."""
    if len(paths) == 1:
        return paths[0]
    own = find_folder_of(home)
    return min(paths, key=lambda path: (-len(os.path.commonpath([find_folder_of(path), own])), path))
