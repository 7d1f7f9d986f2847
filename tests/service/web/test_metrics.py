"""Metrics parse as Prometheus reads them and agree with the journal."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.pages import SECONDS, Served


def test_metrics_parse_and_agree_with_the_journal(served: Served) -> None:
    reply = served.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }
    assert samples["vmat_rt_jobs", "done"] == len(SECONDS)
    assert samples["vmat_rt_jobs", "quarantined"] == 1
    assert samples[("vmat_rt_queue_length",)] == 1
    assert samples[("vmat_rt_job_attempts_total",)] == len(SECONDS) + 3
    assert samples["vmat_rt_job_duration_seconds_bucket", "5"] == sum(s <= 5 for s in SECONDS)
    assert samples["vmat_rt_job_duration_seconds_bucket", "+Inf"] == len(SECONDS)
    assert samples[("vmat_rt_job_duration_seconds_sum",)] == pytest.approx(sum(SECONDS))
    assert samples["vmat_rt_sends", "TPS", "pending"] == len(SECONDS)
    assert samples["vmat_rt_disk_free_bytes", "outbox"] > 0
