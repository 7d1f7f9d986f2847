"""CT files -> series; slices that an anonymiser or archive gave a series each are put together again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vmat_rt.dicom.attributes import Attributes
from vmat_rt.dicom.files import DicomFile, Kind, Scan, read_header
from vmat_rt.dicom.orientation import cosines
from vmat_rt.errors import InputError, Problem, shortened, warning

_FEWEST = 3
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True)
class SliceFrame:
    """Where a slice lies. corners_mm: the middle of its first and last pixel (2, xyz). alike: what slices share."""

    corners_mm: NDArray[np.float64]
    alike: tuple[float, ...]

    @property
    def z_mm(self) -> float:
        return float(self.corners_mm[0, 2])


def frame_of_slice(file: DicomFile) -> SliceFrame | None:
    """Where a classic CT slice lies, from its header; None where the header does not say it."""
    try:
        a: Attributes = read_header(file.path, "CT file")
        position, orientation = a.numbers("ImagePositionPatient", 3), a.numbers("ImageOrientationPatient", 6)
        spacing, rows, columns = a.numbers("PixelSpacing", 2), a.whole("Rows"), a.whole("Columns")
    except InputError:
        return None
    directions = None if orientation is None else cosines(orientation)
    if position is None or orientation is None or spacing is None or not rows or not columns or directions is None:
        return None
    row, column, _ = directions
    last = position + row * (columns - 1) * spacing[1] + column * (rows - 1) * spacing[0]
    alike = (*np.round(orientation, 3).tolist(), *np.round(spacing, 4).tolist(), float(rows), float(columns))
    return SliceFrame(np.array([position, last]), alike)


def ct_series(scan: Scan) -> list[tuple[tuple[DicomFile, ...], tuple[Problem, ...]]]:
    """The CT series of a folder, with a warning for each that was put together. Localizers alone are none."""
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file in (*scan.of(Kind.CT), *scan.of(Kind.ENHANCED_CT)):
        by_uid[file.series_uid].append(file)
    series = [files for files in by_uid.values() if not all(file.localizer for file in files)]
    merged = [group for alone in _alone(series) for group in _alike(alone)]
    taken = {file.series_uid for group in merged for file in group}
    whole = [(tuple(files), _several_patients(files)) for files in series if files[0].series_uid not in taken]
    return [*whole, *(_put_together(group) for group in merged)]


def _several_patients(files: Sequence[DicomFile]) -> tuple[Problem, ...]:
    """An error where slices of one series carry several patients: a slice of another looks like any other."""
    fewest = min(Counter(file.patient for file in files).values())
    if fewest == len(files):
        return ()
    message = f"The CT series {shortened(files[0].series_uid, 64)} holds slices of several PatientIDs; "
    message += f"{fewest} of {len(files)} slices carry one that is rarer than the others'."
    remedy = "Export the series again. If only de-identification made them differ: --accept-deidentified."
    return (Problem("TWO_PATIENTS", message, remedy),)


def _alone(series: Sequence[Sequence[DicomFile]]) -> list[list[DicomFile]]:
    """Slices that are the only one of their series, by patient, study and frame of reference."""
    groups: dict[tuple[str, str, str], list[DicomFile]] = defaultdict(list)
    for files in series:
        file = files[0]
        if len(files) == 1 and file.kind is Kind.CT and file.frame_uid:
            groups[file.patient, file.study_uid, file.frame_uid].append(file)
    return [files for files in groups.values() if len(files) >= _FEWEST]


def _alike(files: Sequence[DicomFile]) -> list[list[DicomFile]]:
    """Those of one orientation, pixel spacing and size that lie at places of their own."""
    groups: dict[tuple[float, ...], list[tuple[float, DicomFile]]] = defaultdict(list)
    for file in files:
        frame = frame_of_slice(file)
        if frame is not None:
            groups[frame.alike].append((frame.z_mm, file))
    return [
        [file for _, file in placed]
        for placed in groups.values()
        if len(placed) >= _FEWEST and min(np.diff(sorted(z for z, _ in placed))) > _SAME_PLACE_MM
    ]


def _put_together(files: Sequence[DicomFile]) -> tuple[tuple[DicomFile, ...], tuple[Problem, ...]]:
    """One series of them, under the first of their UIDs, and the warning that it was made."""
    uid = min(file.series_uid for file in files)
    message = (
        f"{len(files)} CT slices have a SeriesInstanceUID each; they share study, frame of reference, orientation and "
    )
    told = warning(
        "CT_SERIES_PER_SLICE",
        f"{message}pixel spacing and were taken for one series.",
        "Check in the report that the CT is whole; an export with one UID for the series ends this warning.",
    )
    return tuple(replace(file, series_uid=uid) for file in files), (told,)
