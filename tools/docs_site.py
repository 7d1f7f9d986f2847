"""A hook of mkdocs: pages and files that lie outside docs/ come into the site.

CONTRIBUTING.md and CHANGELOG.md become pages. A file of the repository that a page points to (`../service/x.yaml`) is
copied to files/ of the site, so that a site that is read without the repository has no dead link.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File of the repository -> page of the site."""
UPWARDS = re.compile(r"\]\((\.\./[^)#]+)\)")


def find_outside(page: str, target: str) -> str | None:
    """The path in the repository of what a page's link points to; None where it lies in docs/."""
    path = (DOCS / page).parent.joinpath(target).resolve()
    return None if path.is_relative_to(DOCS) else str(path.relative_to(ROOT))


def on_files(files: Files, config: Any) -> Files:
    """Add the two pages, and every file outside docs/ that a page points to."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    pages = list(files.documentation_pages())
    links = [find_outside(file.src_uri, target) for file in pages for target in UPWARDS.findall(file.content_string)]
    for path in sorted({path for path in links if path is not None} - set(PAGES)):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point to the two pages, and to the copies in files/."""
    source = page.file.src_uri
    up = "../" * source.count("/")

    def copy_link(link: re.Match[str]) -> str:
        path = find_outside(source, link[1])
        return link[0] if path is None else f"]({up}{PAGES.get(path, f'files/{path}')})"

    return UPWARDS.sub(copy_link, markdown)
