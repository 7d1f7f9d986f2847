"""Templates are strict about names, escape what they are given, and write numbers as the reports do."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from vmat_rt.report.page_template import load_page_template

TEMPLATES = Path(load_page_template("report.html").filename or "").parent


@pytest.mark.parametrize("name", sorted(path.name for path in TEMPLATES.glob("*.html")))
def test_every_template_can_be_read_once_and_is_strict(name: str) -> None:
    template = load_page_template(name)
    assert template is load_page_template(name)
    with pytest.raises(UndefinedError):
        template.environment.from_string("{{ nobody_gives_this }}").render()


def test_what_is_filled_in_is_escaped() -> None:
    template = load_page_template("report.html").environment.from_string("<p>{{ name }}</p>")
    assert template.render(name="<script>") == "<p>&lt;script&gt;</p>"


@pytest.mark.parametrize("name", ["", "absent.html", "../page.py", "/etc/passwd"])
def test_a_template_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(TemplateNotFound):
        load_page_template(name)


def test_numbers_are_written_as_in_the_tables() -> None:
    from vmat_rt.report.tables import format_number, format_volume

    environment = load_page_template("report.html").environment
    text = environment.from_string("{{ 1234.5678 | number }} {{ 0.1234 | volume }}").render()
    assert text == f"{format_number(1234.5678)} {format_volume(0.1234)}"
