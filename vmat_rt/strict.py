"""What people and programs wrote into files: YAML in which each key stands once, values that a schema knows, and
sentences that say what is wrong with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vmat_rt.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MOST: Final = 5
_LONGEST: Final = 80
_WITHOUT_VALUE: Final = frozenset({"missing", "json_invalid", "value_error"})
"""Kinds of mistakes whose sentence already names the value, or that have none worth naming."""


class Strict(BaseModel):
    """Base of everything that is read from a file: frozen, and a key that the schema does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Schema = TypeVar("Schema", bound=BaseModel)


class YamlError(ValueError):
    """A text is not YAML, or a key stands twice in it; the message says where, on one line."""


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8. Raises ConfigError that names it."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        place = f"{error.reason} at byte {error.start + 1}"
        sentence = f"{what} cannot be read as text: it is not UTF-8 ({place}); save it with this encoding"
        raise ConfigError(sentence) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} cannot be read as text: {error}") from error


def load_yaml(text: str | bytes) -> Any:
    """The value of one YAML document, by plain types only. Raises YamlError."""
    try:
        return yaml.load(text, _EachKeyOnce)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise YamlError(f"{error.problem or error.context}{position}") from error
    except (yaml.YAMLError, ValueError) as error:  # also a number or a date that there cannot be
        raise YamlError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error


def load_mapping(text: str | bytes, what: str) -> dict[str, Any]:
    """The keys and values of a YAML document; none for an empty one. what: names it in messages.

    Raises ConfigError when it is not YAML, holds something else, or a key stands twice.
    """
    try:
        document = load_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{what} cannot be read as YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{what} must be a mapping of keys to values, not {_shorten_value(document)}")
    return {str(key): value for key, value in document.items()}


def checked(schema: type[Schema], document: Any, what: str, advice: str = "") -> Schema:
    """The document as an instance of its schema. Raises ConfigError: what, what is wrong, the advice."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        more = f"; {advice}" if advice else ""
        raise ConfigError(f"{what}: {mistakes(error, collect_keys(schema))}{more}") from error


def collect_keys(schema: type[BaseModel]) -> set[str]:
    """Names of all keys of a schema, at any depth."""
    described = schema.model_json_schema()
    parts = (described, *described.get("$defs", {}).values())
    return {name for part in parts for name in part.get("properties", ())}


def mistakes(error: ValidationError, known: Iterable[str] = ()) -> str:
    """What is wrong with values that were read, one clause per mistake: `batch: ..., not 0`. At most a few of them.

    known: names of keys, of which one is suggested where an unknown key resembles it.
    """
    names = tuple(known)
    details = error.errors(include_url=False)
    clauses = [_describe_mistake(one, names) for one in details[:_MOST]]
    if len(details) > _MOST:
        clauses.append(f"and {len(details) - _MOST} more")
    return "; ".join(clauses)


def reason(error: Exception) -> str:
    """What an exception says, on one line, and what pydantic says in sentences."""
    if isinstance(error, ValidationError):
        return mistakes(error)
    return (str(error).splitlines() or [type(error).__name__])[0]


def _describe_mistake(details: ErrorDetails, known: tuple[str, ...]) -> str:
    key = ".".join(map(str, details["loc"]))
    kind = details["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(details["loc"][-1]), known, n=1)
        return f"there is no key {key}" + (f" (did you mean {near[0]}?)" if near else "")
    if kind == "missing":
        return f"the key {key} is missing"
    sentence = details["msg"].removeprefix("Value error, ")
    given = details["input"]
    if kind not in _WITHOUT_VALUE and isinstance(given, str | int | float | bool):
        sentence = f"{sentence[:1].lower()}{sentence[1:]}, not {_shorten_value(given)}"
    return f"{key}: {sentence}" if key else sentence


def _shorten_value(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


class _EachKeyOnce(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which a key that stands twice is an error, and not the first of them forgotten."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    message = f"the key {key.value} stands twice, again in line {key.start_mark.line + 1}"
                    raise yaml.constructor.ConstructorError(problem=message)
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
