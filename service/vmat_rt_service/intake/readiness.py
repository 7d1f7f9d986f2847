"""Whether a study is complete: by what its RTSTRUCT refers to, never by a timer.

The CT is complete when every instance that the RTSTRUCT lists of a series is here; where no listed instance is here,
when a series of its frame of reference has a slice for every contour plane. Everything else waits, and says for what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vmat_rt.errors import Problem
from vmat_rt_service.intake.catalogue import Catalogue, find_folder_of, find_nearest
from vmat_rt_service.intake.headers import Header, References
from vmat_rt_service.intake.reader_process import EXAMINE_SECONDS
from vmat_rt_service.intake.scattered import find_scattered
from vmat_rt_service.logs import crash

_Z_TOLERANCE_MM = 0.1
_MOST_Z = 5
_NOT_OPENED = ("costly", "broken")
_REMEDIES = {
    "NO_STRUCTURES": "Send the RTSTRUCT that was drawn on this CT.",
    "UNREADABLE": "Give the service the right to read these files.",
    "FRAME_MISMATCH": "Send the CT that it was drawn on. For a de-identified set: `accept_deidentified: true` in the "
    "service's configuration.",
}


@dataclass(frozen=True)
class Ready:
    """The files to stage. certain: complete by SOP instances; otherwise a file on its way could still change it."""

    files: tuple[str, ...]
    certain: bool


@dataclass(frozen=True)
class Waiting:
    """What is missing, in a sentence with counts and z only: it stands in the journal."""

    code: str
    sentence: str

    def as_problem(self) -> Problem:
        """The same for a person who finds the study in quarantine, with what to do."""
        remedy = _REMEDIES.get(self.code, "Send the missing CT slices.")
        return Problem(self.code, self.sentence[0].upper() + self.sentence[1:] + ".", remedy)


@dataclass(frozen=True)
class Rejected:
    """Files that are refused as they are, without being copied and opened once more."""

    files: tuple[str, ...]
    problem: Problem


Verdict = Ready | Waiting | Rejected


@dataclass(frozen=True)
class Assessment:
    """One group of files. anchor names it while it is incomplete; own: the files without which it is none."""

    anchor: str
    own: tuple[str, ...]
    verdict: Verdict


def assess(catalogue: Catalogue) -> list[Assessment]:
    """Every group of the inbox: one for each RTSTRUCT file, CT series left alone, and folder with damaged files."""
    assessments: list[Assessment] = []
    used: set[str] = set()
    for path in catalogue.structures:
        verdict = _judge_in_any_case(catalogue, path)
        assessments.append(Assessment(path, (path,), verdict))
        used.update(() if isinstance(verdict, Waiting) else verdict.files)
    assessments += _find_lonely_series(catalogue, used)
    assessments += _assess_left_over(catalogue, used)
    return assessments


def _judge_in_any_case(catalogue: Catalogue, path: str) -> Verdict:
    """The verdict on one RTSTRUCT. Whatever its numbers lead to, it is this one study that is refused for it."""
    try:
        return _judge_structures(catalogue, path)
    except Exception as error:  # the boundary between what one file says and all other studies
        crash("not judged", error)
        message = "The service could not tell which files belong to this RTSTRUCT: its contents are beyond any sense."
        return Rejected((path,), Problem("INTAKE_FAILED", message, "Export it again; report it if it stays so."))


def _judge_structures(catalogue: Catalogue, path: str) -> Verdict:
    header = catalogue.headers[path]
    if header.references is None:
        series = {s for frame in header.frames for s in catalogue.series_by_frame.get(frame, ())}
        return Ready((path, *catalogue.find_ct_near(series, path)), certain=False)
    verdict = _judge_by_instances(catalogue, path, header.references) or _judge_by_planes(catalogue, path, header)
    if isinstance(verdict, Ready):
        if not all(catalogue.headers[file].whole for file in verdict.files):
            verdict = Ready(verdict.files, certain=False)
        return Ready((*verdict.files, *_find_plans_and_doses(catalogue, path)), verdict.certain)
    own_series = _collect_series(catalogue, header)
    ct = catalogue.find_ct_near(own_series, path)
    for kind in _NOT_OPENED:
        lost = catalogue.find_beside([path, *ct], getattr(catalogue, kind))
        if lost:
            return Rejected((path, *ct, *lost), _describe_lost(kind, len(lost)))
    damaged = catalogue.find_beside([path, *ct], catalogue.damaged)
    if damaged:
        return Ready((path, *ct, *damaged), certain=False)
    return verdict


def _collect_series(catalogue: Catalogue, header: Header) -> set[str]:
    references = header.references or References()
    listed = {catalogue.headers[p].series for sops in references.images.values() for sop in sops
              for p in catalogue.ct_by_sop.get(sop, ())}  # fmt: skip
    return listed or {s for frame in header.frames for s in catalogue.series_by_frame.get(frame, ())}


def _judge_by_instances(catalogue: Catalogue, path: str, references: References) -> Ready | Waiting | None:
    """The verdict by SOP instances, None where none of those listed is here."""
    matched = [sops for sops in references.images.values() if any(sop in catalogue.ct_by_sop for sop in sops)]
    if not matched:
        return None
    listed = {sop for sops in matched for sop in sops}
    present = listed & catalogue.ct_by_sop.keys()
    series = {catalogue.headers[p].series for sop in present for p in catalogue.ct_by_sop[sop]}
    ct = catalogue.find_ct_near(series, path)
    if len(present) == len(listed):
        return Ready((path, *ct), certain=True)
    missing = listed - present
    z_mm = [references.slice_z[sop] for sop in missing if sop in references.slice_z]
    if len(z_mm) < len(missing):
        z_mm = _find_gaps(_collect_z(catalogue, ct), references.planes_mm, len(missing))
    return _describe_missing(len(missing), len(listed), z_mm)


def _judge_by_planes(catalogue: Catalogue, path: str, header: Header) -> Ready | Waiting:
    """The verdict by frame of reference and contour planes; by series where the RTSTRUCT names no frame."""
    references = header.references or References()
    series = {s for frame in header.frames for s in catalogue.series_by_frame.get(frame, ())}
    if not header.frames:
        series = {s for s in references.images if s in catalogue.ct_by_series}
    scattered = find_scattered(catalogue, path, series)
    if scattered and not _find_uncovered(scattered, references.planes_mm, catalogue):
        return Ready((path, *scattered), certain=False)
    if not series:
        return _judge_without_ct(catalogue, path, header, references)
    uncovered = {
        s: _find_uncovered(catalogue.find_ct_near({s}, path), references.planes_mm, catalogue) for s in sorted(series)
    }
    covering = [s for s, planes in uncovered.items() if not planes]
    if covering:
        return Ready((path, *catalogue.find_ct_near(covering, path)), certain=False)
    fewest = min(uncovered.values(), key=len)
    return _describe_missing(len(fewest), len(references.planes_mm), list(fewest))


def _judge_without_ct(catalogue: Catalogue, path: str, header: Header, references: References) -> Ready | Waiting:
    listed = sum(len(sops) for sops in references.images.values())
    count = listed or len(references.planes_mm)
    if not count:  # it refers to nothing, so nothing can be missing: the pipeline says what is wrong with it
        home = find_folder_of(path)
        beside = [p for series in catalogue.ct_by_series.values() for p in series if find_folder_of(p) == home]
        return Ready((path, *sorted(beside)), certain=False)
    waiting = _describe_missing(count, count, list(references.planes_mm))
    same_patient = any(catalogue.headers[paths[0]].patient == header.patient for paths in catalogue.ct_by_sop.values())
    if same_patient:
        note = "; the CT of this patient that is here lies in another frame of reference"
        return Waiting("FRAME_MISMATCH", waiting.sentence + note)
    return waiting


def _collect_z(catalogue: Catalogue, files: Iterable[str]) -> list[float]:
    return sorted({z for path in files if (z := catalogue.headers[path].z_mm) is not None})


def _measure_spacing(z_mm: Sequence[float]) -> float:
    gaps = sorted(b - a for a, b in pairwise(z_mm))
    return gaps[(len(gaps) - 1) // 2] if gaps else 0.0  # the lower one: gaps can only be too wide


def _find_uncovered(ct: list[str], planes_mm: Sequence[float], catalogue: Catalogue) -> tuple[float, ...]:
    """The contour planes without a slice within half a slice distance; none where a file holds many slices."""
    z_mm = _collect_z(catalogue, ct)
    if len(z_mm) < len(ct):
        return ()
    reach = _measure_spacing(z_mm) / 2 + _Z_TOLERANCE_MM
    return tuple(plane for plane in planes_mm if min((abs(plane - z) for z in z_mm), default=1e9) > reach)


def _find_gaps(z_mm: Sequence[float], planes_mm: Sequence[float], count: int) -> list[float]:
    """Where `count` slices are missing: holes in the series, and contour planes beyond it.

    The slice distance is that of the slices here; where that leaves too few places (every second slice is
    missing), that of the contour planes.
    """
    gaps: set[float] = set(planes_mm)
    for spacing in (_measure_spacing(z_mm), _measure_spacing(sorted(planes_mm))):
        if len(z_mm) < 2 or spacing <= 0:
            continue
        holes = {round(low + spacing * k, 2) for low, high in pairwise(z_mm)
                 for k in range(1, min(1000, round((high - low) / spacing)))}  # fmt: skip
        beyond = {p for p in planes_mm if p < z_mm[0] - spacing / 2 or p > z_mm[-1] + spacing / 2}
        gaps = holes | beyond
        if len(gaps) >= count:
            break
    return sorted(gaps - set(z_mm))


def _describe_missing(missing: int, of: int, z_mm: list[float]) -> Waiting:
    z_mm = sorted(z_mm)
    if not z_mm or missing == of:
        where = ""
    elif len(z_mm) <= _MOST_Z:
        where = f" (z = {', '.join(f'{z:g}' for z in z_mm)} mm)"
    else:
        where = f" (z = {', '.join(f'{z:g}' for z in z_mm[:_MOST_Z])}, ... {z_mm[-1]:g} mm)"
    return Waiting("CT_INCOMPLETE" if missing < of else "NO_CT", f"waiting for {missing} of {of} CT slices{where}")


def _find_plans_and_doses(catalogue: Catalogue, path: str) -> list[str]:
    """RTPLANs made on this RTSTRUCT or on none that they name, and the RTDOSEs of the same patient and frame."""
    header = catalogue.headers[path]
    plans = [p for p in catalogue.plans if _belongs(catalogue.headers[p], header)]
    doses = [p for p in catalogue.doses if _is_same_place(catalogue.headers[p], header)]
    by_sop: dict[str, list[str]] = {}
    for file in (*plans, *doses):
        by_sop.setdefault(catalogue.headers[file].sop, []).append(file)
    return [find_nearest(copies, path) for copies in by_sop.values()]


def _belongs(plan: Header, structures: Header) -> bool:
    return plan.refers == structures.sop or (not plan.refers and plan.patient == structures.patient)


def _is_same_place(dose: Header, structures: Header) -> bool:
    return dose.patient == structures.patient and bool(set(dose.frames) & set(structures.frames))


def _find_lonely_series(catalogue: Catalogue, used: set[str]) -> list[Assessment]:
    """CT series that no RTSTRUCT of the inbox can be about."""
    frames = {frame for path in catalogue.structures for frame in catalogue.headers[path].frames}
    lonely = []
    for series, paths in sorted(catalogue.ct_by_series.items()):
        if used & set(paths) or frames & {f for p in paths for f in catalogue.headers[p].frames}:
            continue
        count = len({catalogue.headers[p].sop for p in paths})
        sentence = f"waiting for the RTSTRUCT of {count} CT slices"
        lonely.append(Assessment(f"series {series}", tuple(paths), Waiting("NO_STRUCTURES", sentence)))
    return lonely


def _assess_left_over(catalogue: Catalogue, used: set[str]) -> list[Assessment]:
    """Damaged files without a group, to be refused by name; files that may not be read, to wait for."""
    assessments = []
    for kind in ("damaged", "unreadable", *_NOT_OPENED):
        by_folder: dict[str, list[str]] = {}
        for path in getattr(catalogue, kind):
            if path not in used:
                by_folder.setdefault(find_folder_of(path), []).append(path)
        for folder, paths in sorted(by_folder.items()):
            assessments.append(Assessment(f"{kind} {folder}", tuple(paths), _judge_left_over(kind, tuple(paths))))
    return assessments


def _judge_left_over(kind: str, paths: tuple[str, ...]) -> Verdict:
    if kind == "damaged":
        return Ready(paths, certain=False)
    if kind in _NOT_OPENED:
        return Rejected(paths, _describe_lost(kind, len(paths)))
    return Waiting("UNREADABLE", f"{len(paths)} files of one folder may not be read; check their permissions")


def _describe_lost(kind: str, count: int) -> Problem:
    if kind == "broken":
        message = f"{count} files of the study cannot be read: their disk or share fails over them."
        return Problem("UNREADABLE", message, "Send them again, and look at the disk that the inbox lies on.")
    message = f"{count} files of the study could not be opened in {EXAMINE_SECONDS:g} seconds each."
    return Problem("FILE_TOO_COSTLY", message, "Export them again: a file of that kind is damaged or made to do harm.")
