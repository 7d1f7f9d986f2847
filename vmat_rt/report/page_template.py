"""The templates of the HTML pages, as jinja2 reads them: strict about names, escaping what it fills in."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from vmat_rt.report.tables import format_number, format_volume

if TYPE_CHECKING:
    from jinja2 import Template


@functools.cache
def load_page_template(name: str) -> Template:
    """The template of that file name in vmat_rt/report/templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("vmat_rt.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": format_number, "volume": format_volume}
    return environment.get_template(name)
