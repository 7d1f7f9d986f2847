"""The ES modules of this folder as one classic script, so that a page is one file that loads nothing.

Modules are written out in the order in which they need each other, without `import` lines and the word `export`, within
one function. They share its scope, so no name may be declared at the top of two modules: this is checked here.
"""

from __future__ import annotations

import functools
import re
from importlib import resources

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>[\w-]+\.mjs)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:function\*?|const|let|class) (?P<name>\w+)", re.MULTILINE)
_ANY_IMPORT = re.compile(r"^\s*(?:import\b|export (?:default|\{|\*))", re.MULTILINE)


@functools.cache
def bundle_script(entry: str) -> str:
    """The module of that file name and all that it imports. Raises ValueError for a module that cannot be joined."""
    ordered: dict[str, str] = {}
    _collect(entry, ordered, ())
    declared: dict[str, str] = {}
    for name, text in ordered.items():
        for match in _DECLARED.finditer(text):
            other = declared.setdefault(match["name"], name)
            if other != name:
                raise ValueError(f"{match['name']} is declared in {other} and in {name}")
    body = "\n".join(f"// {name}\n{text.strip()}\n" for name, text in ordered.items())
    return f'(function () {{\n"use strict";\n{body}}})();\n'


def _collect(name: str, ordered: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"modules import each other: {' -> '.join((*above, name))}")
    if name in ordered:
        return
    text = read_module(name)
    for match in _IMPORT.finditer(text):
        _collect(match["name"], ordered, (*above, name))
    plain = re.sub(r"^export (?=async |function|const|let|class)", "", _IMPORT.sub("", text), flags=re.MULTILINE)
    if _ANY_IMPORT.search(plain) or "</script" in plain:
        raise ValueError(f"{name} has an import or export of another form, or would end its own script element")
    ordered[name] = plain


def read_module(name: str) -> str:
    """The text of a file of this folder."""
    return (resources.files("vmat_rt.report.web") / name).read_text(encoding="utf-8")
