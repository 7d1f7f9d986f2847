"""Metrics as they are written: what is understood, what is refused, and that each writes itself again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmat_rt.errors import ConfigError
from vmat_rt.metrics.grammar import Metric, parse_metric, parse_metrics

CANONICAL = [
    ("D95%", Metric("dose_at_percent", 95, "Gy")),
    ("D0.03cc", Metric("dose_at_cc", 0.03, "Gy")),
    ("D95%[%]", Metric("dose_at_percent", 95, "%")),
    ("Dmean", Metric("dose_mean", None, "Gy")),
    ("Dmin", Metric("dose_min", None, "Gy")),
    ("Dmax", Metric("dose_max", None, "Gy")),
    ("Dmax[%]", Metric("dose_max", None, "%")),
    ("Dmedian", Metric("dose_median", None, "Gy")),
    ("V70Gy", Metric("volume_at_gy", 70, "%")),
    ("V45Gy[cc]", Metric("volume_at_gy", 45, "cc")),
    ("V95%", Metric("volume_at_percent", 95, "%")),
    ("V95%[cc]", Metric("volume_at_percent", 95, "cc")),
    ("gEUD[a=8]", Metric("geud", 8, "Gy")),
    ("gEUD[a=-10]", Metric("geud", -10, "Gy")),
    ("HI", Metric("homogeneity", None, "")),
    ("CI", Metric("conformity", None, "")),
]


@pytest.mark.parametrize(("text", "metric"), CANONICAL)
def test_canonical_spelling_survives(text: str, metric: Metric) -> None:
    assert parse_metric(text) == metric
    assert str(metric) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("d95 %", "D95%"),
        ("D 0.030 CC", "D0.03cc"),
        ("D2cm3", "D2cc"),
        ("mean", "Dmean"),
        ("DMAX [Gy]", "Dmax"),
        ("v45gy [CC]", "V45Gy[cc]"),
        ("V 70 Gy [%]", "V70Gy"),
        ("V7000cGy", "V70Gy"),
        ("geud[ 8 ]", "gEUD[a=8]"),
        ("V107.5%", "V107.5%"),
    ],
)
def test_case_and_spaces_do_not_matter(text: str, canonical: str) -> None:
    assert str(parse_metric(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "D", "D95", "V70", "95%", "D0%", "D101%", "D0cc", "D-5%", "Vmean", "V70Gy[Gy]", "D95%[cc]", "gEUD",
     "gEUD[a=0]", "D1e2%", "DNaN%", "D95%;V70Gy", "HI[cc]", "Dmean%"],
)  # fmt: skip
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_metric(text)
    assert "D" in str(caught.value)


def test_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"D0\.03cc.*V70Gy.*gEUD\[a=8\]"):
        parse_metric("D95")


def test_list_drops_repetitions_and_keeps_order() -> None:
    assert [str(m) for m in parse_metrics("Dmean, D95%,dmean,V20Gy")] == ["Dmean", "D95%", "V20Gy"]
    with pytest.raises(ConfigError):
        parse_metrics(" , ")


@given(st.integers(1, 100_000), st.sampled_from(["D{}cc", "V{}Gy", "V{}Gy[cc]", "V{}%", "V{}%[cc]", "gEUD[a={}]"]))
def test_every_number_survives(thousandths: int, form: str) -> None:
    metric = parse_metric(form.format(thousandths / 1000))
    assert metric.number == thousandths / 1000
    assert parse_metric(str(metric)) == metric


def test_what_needs_a_prescription() -> None:
    needing = {text for text, metric in CANONICAL if metric.needs_prescription}
    assert needing == {"D95%[%]", "Dmax[%]", "V95%", "V95%[cc]", "CI"}
