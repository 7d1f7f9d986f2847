"""/metrics: counted from the journal when asked, so a restart loses no count and an idle service counts nothing."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vmat_rt import __version__
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.readings import BUCKETS_SECONDS, Durations, Readings, reading
from vmat_rt_service.journal.states import State
from vmat_rt_service.web.health import Health, Pulse, examine_health


class ServiceCollector(Collector):
    """Everything that Prometheus may ask of the service. Labels are states, folders and destinations, never a case."""

    def __init__(self, config: ServiceConfig, pulse: Pulse) -> None:
        self._config = config
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """One look. Raises sqlite3.Error when the journal cannot be read."""
        yield from _measure_health(examine_health(self._config, self._pulse))
        with reading(self._config.journal) as journal:
            yield from _measure_jobs(journal)
            yield _measure_durations(journal.count_durations())
            yield _measure_sends(journal)

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not need a journal."""
        return []


def format_metrics(config: ServiceConfig, pulse: Pulse) -> bytes:
    """The text exposition format. Raises sqlite3.Error when the journal cannot be read."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(config, pulse))
    return generate_latest(registry)


def _measure_health(health: Health) -> Iterator[Metric]:
    build = GaugeMetricFamily("vmat_rt_build", "Version that runs; the value is always 1.", labels=["version"])
    build.add_metric([__version__], 1)
    yield build
    yield GaugeMetricFamily("vmat_rt_healthy", "1 while every check of /healthz passes.", value=float(health.ok))
    yield GaugeMetricFamily("vmat_rt_up_seconds", "Since the service started.", value=health.up_seconds)
    age = float("nan") if health.scan_age_seconds is None else health.scan_age_seconds
    yield GaugeMetricFamily("vmat_rt_last_scan_age_seconds", "Since the last scan of the inbox ended.", value=age)
    free = GaugeMetricFamily("vmat_rt_disk_free_bytes", "Free space by folder.", labels=["folder"])
    for name, count in health.free_bytes.items():
        free.add_metric([name], count)
    yield free


def _measure_jobs(journal: Readings) -> Iterator[Metric]:
    counts = journal.count_jobs()
    jobs = GaugeMetricFamily("vmat_rt_jobs", "Jobs by state.", labels=["state"])
    for state, count in counts.items():
        jobs.add_metric([str(state)], count)
    yield jobs
    queue = counts[State.READY]
    yield GaugeMetricFamily("vmat_rt_queue_length", "Complete studies that wait for a worker.", value=queue)
    changes = journal.count_changes()
    yield CounterMetricFamily("vmat_rt_job_attempts", "Runs that were begun.", value=changes[State.RUNNING])
    ended = CounterMetricFamily("vmat_rt_jobs_ended", "Jobs that came to an end, by state.", labels=["state"])
    for state in (State.DONE, State.REFUSED, State.FAILED):
        ended.add_metric([str(state)], changes[state])
    yield ended


def _measure_durations(durations: Durations) -> Metric:
    buckets = [(f"{bound:g}", float(n)) for bound, n in zip(BUCKETS_SECONDS, durations.at_most, strict=True)]
    return HistogramMetricFamily(
        "vmat_rt_job_duration_seconds",
        "Run time of the jobs that are done.",
        buckets=[*buckets, ("+Inf", float(durations.count))],
        sum_value=durations.total_seconds,
    )


def _measure_sends(journal: Readings) -> Metric:
    sends = GaugeMetricFamily("vmat_rt_sends", "Results to send, by status.", labels=["destination", "status"])
    for (destination, status), count in journal.count_sends().items():
        sends.add_metric([destination, status], count)
    return sends
