"""What a metric is called on paper, its unit, which way is better, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

Better = Literal["lower", "higher", "zero", ""]
ABSENT: Final = "–"
_DECIMALS: Final = {"Gy": 2, "%": 1, "s": 1, "": 3}


@dataclass(frozen=True)
class MetricQuantity:
    """One metric. better is empty where neither direction is."""

    label: str
    unit: str
    better: Better = ""

    @property
    def axis(self) -> str:
        """For an axis: `MAE in the body, Gy`."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def text(self, value: float | None) -> str:
        """The number without its unit; gaps carry their sign."""
        return format_number(value, self.unit, signed=self.better == "zero")

    def spread(self, value: float | None) -> str:
        """An SD or another number without sign."""
        return format_number(value, self.unit)


_QUANTITIES: Final[dict[str, MetricQuantity]] = {
    "mae_gy": MetricQuantity("MAE, body", "Gy", "lower"),
    "mae_target_gy": MetricQuantity("MAE, targets", "Gy", "lower"),
    "mae_outside_gy": MetricQuantity("MAE, outside targets", "Gy", "lower"),
    "rmse_gy": MetricQuantity("RMSE, body", "Gy", "lower"),
    "bias_gy": MetricQuantity("Bias, body", "Gy", "zero"),
    "gamma_global_percent": MetricQuantity("γ 3 % / 3 mm, body", "%", "higher"),
    "gamma_target_percent": MetricQuantity("γ 3 % / 3 mm, targets", "%", "higher"),
    "d95_gap_gy": MetricQuantity("D95% gap", "Gy", "zero"),
    "d95_abs_gap_gy": MetricQuantity("|D95% gap|", "Gy", "lower"),
    "mean_gap_gy": MetricQuantity("Dmean gap", "Gy", "zero"),
    "near_max_gap_gy": MetricQuantity("D0.03cc gap", "Gy", "zero"),
    "homogeneity_gap": MetricQuantity("HI gap", "", "zero"),
    "conformity_gap": MetricQuantity("CI gap", "", "zero"),
    "asymmetry_gy": MetricQuantity("Left − right Dmean, predicted", "Gy"),
    "asymmetry_reference_gy": MetricQuantity("Left − right Dmean, reference", "Gy"),
    "asymmetry_gap_gy": MetricQuantity("Left − right asymmetry gap", "Gy", "zero"),
    "goals_agreement_percent": MetricQuantity("Goals on which both doses agree", "%", "higher"),
    "goals_met_percent": MetricQuantity("Goals met, predicted", "%"),
    "goals_met_reference_percent": MetricQuantity("Goals met, reference", "%"),
    "openkbp_dose_score": MetricQuantity("OpenKBP dose score", "Gy", "lower"),
    "openkbp_dvh_score": MetricQuantity("OpenKBP DVH score", "Gy", "lower"),
    "coverage_percent": MetricQuantity("Body that the model covers", "%"),
    "seconds": MetricQuantity("Time to predict", "s"),
}

HEADLINE: Final = (
    "mae_gy", "mae_target_gy", "mae_outside_gy", "rmse_gy", "bias_gy", "gamma_global_percent", "gamma_target_percent",
    "d95_gap_gy", "d95_abs_gap_gy", "homogeneity_gap", "conformity_gap", "asymmetry_gap_gy", "goals_agreement_percent",
    "openkbp_dose_score", "openkbp_dvh_score", "coverage_percent", "seconds",
)  # fmt: skip
"""Rows of the table over seeds, in order; one that exists per structure has a row for each."""


def describe_quantity(metric: str) -> MetricQuantity:
    """Describe a metric by its name, its structure behind the label. An unknown one keeps its own name and suffix."""
    name, _, structure = metric.partition(":")
    known = _QUANTITIES.get(name)
    if known is None:
        unit = "Gy" if name.endswith("_gy") else "%" if name.endswith("_percent") else ""
        known = MetricQuantity(name.replace("_", " "), unit)
    return replace(known, label=f"{known.label}, {structure}") if structure else known


def sort_metrics(metrics: Iterable[str], wanted: tuple[str, ...]) -> list[str]:
    """Those of `metrics` that are wanted, in the order of `wanted`; structures of one metric stay in their order."""
    present = list(metrics)
    return [metric for name in wanted for metric in present if metric.partition(":")[0] == name]


def format_number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """As many decimals as the unit deserves; a true minus; a dash where there is nothing."""
    if value is None:
        return ABSENT
    decimals = _DECIMALS.get(unit, 2)
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return drop_sign_of_zero(text).replace("-", "−")


def drop_sign_of_zero(text: str) -> str:
    """Rounded to nothing has no sign."""
    return text.lstrip("+-") if float(text) == 0 else text
