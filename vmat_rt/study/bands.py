"""The bands of a predicted dose, where its model has been calibrated: for every metric, goal and DVH of a structure."""

from __future__ import annotations

from collections.abc import Iterator

from vmat_rt.bundle import Bundle
from vmat_rt.case import Prescription
from vmat_rt.errors import Problem, warning
from vmat_rt.metrics.grammar import Metric, parse_metric
from vmat_rt.protocol import Protocol
from vmat_rt.report.band_entries import BandEntry, BandsEntry, CurveBandEntry
from vmat_rt.report.document import METRICS, TARGET_METRICS
from vmat_rt.report.result import DoseResult
from vmat_rt.trust.bands import StructureBands, find_structure_bands
from vmat_rt.trust.calibration import FILE, SHARES, Calibration, read_calibration
from vmat_rt.trust.conformal import LEVEL

_CURVE = tuple(share for share in SHARES if 0.01 <= share <= 0.99)


def find_calibration(bundle: Bundle) -> tuple[Calibration | None, tuple[Problem, ...]]:
    """The calibration that lies beside a bundle, or None; a warning where it belongs to another model.

    Raises ConfigError when the file is damaged.
    """
    path = bundle.folder / FILE
    if not path.is_file():
        return None, ()
    calibration = read_calibration(path)
    if calibration.model_sha256 == bundle.identity.sha256:
        return calibration, ()
    message = (
        f"The calibration beside {bundle.manifest.name} was made for version {calibration.model_version} of "
        f"{calibration.model} with other content; no bands are given."
    )
    return None, (warning("CALIBRATION_OF_ANOTHER_MODEL", message, "Make it again: vmat-rt bands make."),)


def build_bands_entry(
    calibration: Calibration,
    protocol: Protocol,
    prescription: Prescription,
    predicted: DoseResult,
    beside: DoseResult | None,
) -> BandsEntry:
    """The bands of every structure with a TG-263 name: of the report's metrics, of those of goals, and of the DVH."""
    metrics, curves = [], []
    doses_gy = dict(prescription.dose_gy)
    for roi_name, dvh in predicted.dvhs.items():
        other = None if beside is None else beside.dvhs.get(roi_name)
        bands = find_structure_bands(calibration, dvh, other, doses_gy)
        if bands is None or not bands.entries:
            continue
        metrics += [_build_band(bands, metric) for metric in _list_metrics(protocol, predicted, bands.name)]
        curve = _build_curve(bands)
        if curve is not None:
            curves.append(curve)
    return BandsEntry(
        level_percent=100 * LEVEL,
        cases=len(calibration.cases),
        data=calibration.data,
        simulated=calibration.simulated,
        metrics=metrics,
        curves=curves,
    )


def _list_metrics(protocol: Protocol, predicted: DoseResult, name: str) -> Iterator[Metric]:
    """Each once: those of the report's tables, and those that goals judge this structure by."""
    targets = {spec.name for spec in protocol.with_role("target")}
    singles = (one for goals in predicted.goals.values() for goal in goals for one in (goal.arms or (goal,)))
    # A band is of the whole structure, which a goal on its shell does not ask for.
    of_goals = [goal.metric for goal in singles if goal.judged_on == name]
    texts = (*(TARGET_METRICS if name in targets else METRICS), *of_goals)
    yield from dict.fromkeys(parse_metric(text) for text in texts)


def _build_band(bands: StructureBands, metric: Metric) -> BandEntry:
    found = bands.read(metric)
    return BandEntry(
        structure=bands.name,
        metric=str(metric),
        low=None if found.interval is None else found.interval.low,
        high=None if found.interval is None else found.interval.high,
        cases=0 if found.interval is None else found.interval.cases,
        reason=found.reason,
    )


def _build_curve(bands: StructureBands) -> CurveBandEntry | None:
    """Point by point, then made to fall as a DVH does; None where there are too few cases."""
    found = [bands.read(Metric("dose_at_percent", 100 * share, "Gy")).interval for share in _CURVE]
    known = [interval for interval in found if interval is not None]
    if len(known) < len(found):
        return None
    lows, highs = [known[0].low], [known[0].high]
    for interval in known[1:]:  # from the coldest part to the hottest, so doses may only rise
        lows.append(max(lows[-1], interval.low))
        highs.append(max(highs[-1], interval.high))
    return CurveBandEntry(
        structure=bands.name, volume_percent=[100 * share for share in _CURVE], low_gy=lows, high_gy=highs
    )
