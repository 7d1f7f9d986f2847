"""The pages: server-rendered, nothing from outside, nothing of a patient but what a person with the token asks for."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from urllib.parse import urlencode

import jinja2

from vmat_rt import __version__
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Job
from vmat_rt_service.journal.readings import Readings, Search, reading
from vmat_rt_service.journal.states import State
from vmat_rt_service.outbox.published import has_page, list_pages
from vmat_rt_service.web.access import Access
from vmat_rt_service.web.answers import Html
from vmat_rt_service.web.health import Health, Pulse, examine_health
from vmat_rt_service.web.results import Results
from vmat_rt_service.web.whereabouts import Whereabouts

_MOST_OPEN = 25
_MOST_ENDED = 25
_PAGE_ROWS = 25
_LONGEST_SEARCH = 200
_BARS = 60
_BAR_STEP = 8.0
_PLOT_HEIGHT = 72.0
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

GLOSS = {
    State.RECEIVING: "files still arriving",
    State.QUARANTINED: "incomplete for too long",
    State.READY: "complete, in the queue",
    State.RUNNING: "being predicted",
    State.DONE: "result published",
    State.REFUSED: "cannot be used as it is",
    State.FAILED: "gave up after repeated tries",
}
"""The states in a physicist's words, in the order of a study's way."""


@dataclass(frozen=True)
class Bar:
    """One run of the duration plot, in the plot's own units."""

    x: float
    y: float
    height: float
    label: str


@dataclass(frozen=True)
class Listing:
    """The rows of one table, and how many more there are."""

    rows: tuple[Job, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are not listed."""
        return self.total - len(self.rows)


@dataclass(frozen=True)
class Found:
    """One page of the studies that were searched for."""

    rows: tuple[Job, ...]
    total: int
    page: int
    text: str
    state: str

    @property
    def pages(self) -> int:
        return max(1, math.ceil(self.total / _PAGE_ROWS))

    def link(self, page: int) -> str:
        """The address of another page of the same search."""
        return "/studies?" + urlencode({"q": self.text, "state": self.state, "page": page})


class Pages:
    """Renders the pages of one service."""

    def __init__(self, config: ServiceConfig, pulse: Pulse, access: Access | None = None) -> None:
        self._config, self._pulse = config, pulse
        self._access = access or Access(config.web.host, "")
        self._results = Results(config)
        self.whereabouts = Whereabouts(config)
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("vmat_rt_service"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters.update(ago=format_ago, duration=format_duration, moment=format_moment, size=format_size)
        self._templates.globals.update(
            reasons=self._results.list_reasons, glance=self._results.glance, gloss=GLOSS, version=__version__,
            linked=lambda kind, job: has_page(config, kind, job.key),
            downloads=lambda job: list_pages(config, "downloads", job.key),
            can_change=bool(self._access.token), form_key=self._access.form_key if self._access.token else "",
        )  # fmt: skip

    def status(self) -> Html:
        """The whole service at a look. Raises sqlite3.Error when the journal cannot be read."""
        with reading(self._config.journal) as journal:
            counts = journal.count_jobs()
            seconds = journal.read_latest_seconds(_BARS)
            listings = {
                "in_hand": _list_jobs(journal, counts, "oldest", State.RUNNING, State.READY),
                "waiting": _list_jobs(journal, counts, "latest", State.RECEIVING, State.QUARANTINED),
                "stopped": _list_jobs(journal, counts, "latest", State.REFUSED, State.FAILED),
                "done": (done := _list_jobs(journal, counts, "latest", State.DONE)),
            }
            values = {
                **listings,
                "counts": counts,
                "folders": self._name_folders(journal, [row for listing in listings.values() for row in listing.rows]),
                "sent": {job.id: journal.list_sent(job.id) for job in done.rows},
                "seconds": seconds,
                "bars": make_bars(seconds),
            }
        return self._render("status.html", **values, summary=summarise(seconds))

    def studies(self, words: Mapping[str, str]) -> Html:
        """The studies that a search finds, a page at a time. Raises sqlite3.Error."""
        text, state = words.get("q", "").strip()[:_LONGEST_SEARCH], words.get("state", "")
        states = (State(state),) if state in set(map(str, State)) else ()
        page = int(words["page"]) if re.fullmatch(r"[1-9][0-9]{0,6}", words.get("page", ""), re.ASCII) else 1
        with reading(self._config.journal) as journal:
            sources = self.whereabouts.search(text, journal) if text and self._access.token else ()
            wanted = Search(text, states, sources)
            rows, total = journal.search(wanted, _PAGE_ROWS, (page - 1) * _PAGE_ROWS)
            folders = self._name_folders(journal, rows)
        found = Found(rows, total, page, text, str(states[0]) if states else "")
        return self._render("studies.html", found=found, folders=folders)

    def job(self, number: int, patient: Mapping[str, str] | None = None) -> Html | None:
        """One job with its history; None where there is none. patient: whose it is, where that was asked.

        Raises sqlite3.Error.
        """
        with reading(self._config.journal) as journal:
            job = journal.find_job(number)
            if job is None:
                return None
            files, total_bytes = journal.count_inputs(number)
            steps, sent = journal.list_steps(number), journal.list_sent(number)
            folder = self._name_folders(journal, [job]).get(number, "")
        return self._render(
            "job.html", job=job, steps=steps, sent=sent, files=files, total_bytes=total_bytes, folder=folder,
            patient=patient,
        )  # fmt: skip

    def upload(self) -> Html:
        """Where a study can be sent from a browser."""
        return self._render("upload.html")

    def notice(self, title: str, text: str) -> Html:
        """A page that says one thing."""
        return self._render("notice.html", title=title, text=text)

    def _name_folders(self, journal: Readings, jobs: Sequence[Job]) -> dict[int, str]:
        """Job -> the folder that it arrived in: for who knows the token only, for it may name the patient."""
        if not self._access.token or not jobs:
            return {}
        sources = journal.list_sources(job.id for job in jobs)
        return {number: self.whereabouts.name_folder(source, journal) for number, source in sources.items()}

    def _render(self, template: str, **values: object) -> Html:
        nonce = secrets.token_urlsafe(16)
        health: Health = examine_health(self._config, self._pulse)
        text = self._templates.get_template(template).render(
            values, nonce=nonce, health=health, config=self._config, now=datetime.now(UTC)
        )
        return Html(text, nonce)


def _list_jobs(journal: Readings, counts: dict[State, int], order: str, *states: State) -> Listing:
    """Each state in turn, so that a long queue never hides what runs."""
    if order == "oldest":
        rows = tuple(row for state in states for row in journal.list_oldest(_MOST_OPEN, state))
    else:
        rows = journal.list_latest(_MOST_ENDED, *states)
    return Listing(rows, sum(counts[state] for state in states))


def make_bars(seconds: tuple[float, ...]) -> tuple[Bar, ...]:
    """The run times as bars that end at the plot's bottom, the longest as high as the plot."""
    longest = max(seconds, default=0.0)
    heights = [max(1.5, _PLOT_HEIGHT * value / longest) if longest > 0 else 1.5 for value in seconds]
    return tuple(
        Bar(i * _BAR_STEP, round(_PLOT_HEIGHT - height, 2), round(height, 2), format_duration(value))
        for i, (height, value) in enumerate(zip(heights, seconds, strict=True))
    )


def summarise(seconds: tuple[float, ...]) -> dict[str, str]:
    """Median, the time that nine of ten stay within, and the longest; empty without runs."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    within = ordered[max(0, math.ceil(0.9 * len(ordered)) - 1)]
    values = {"median": median(ordered), "nine of ten within": within, "longest": ordered[-1]}
    return {name: format_duration(value) for name, value in values.items()}


def format_duration(seconds: float | None) -> str:
    """3.2 s, 48 s, 2 min 5 s, 3 h 20 min, 4 d 2 h; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for (unit, name), (part, part_name) in pairwise(_UNITS):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {part_name}" if rest else "")
    return f"{whole} s"


def format_ago(at: str, now: datetime) -> str:
    """How long before now; a clock that was set back gives "just now", never the future."""
    seconds = (now - datetime.fromisoformat(at)).total_seconds()
    return "just now" if seconds < 10 else f"{format_duration(seconds)} ago"


def format_moment(at: str) -> str:
    """2026-11-22 15:03:20 CET: the time of the machine that serves."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def format_size(count: int) -> str:
    """Bytes in MB or GB."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
