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
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)#]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the two pages, and every file outside docs/ that a page points to."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    pages = [file.content_string for file in files.documentation_pages()]
    for target in sorted({path for text in pages for _, path in OUTSIDE.findall(text)}):
        files.append(File.generated(config, f"files/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point to the copies in files/."""
    depth = page.file.src_uri.count("/")
    return OUTSIDE.sub(lambda found: f"]({'../' * depth}files/{found[2]})", markdown)
