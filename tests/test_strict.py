"""What is wrong with a file, in a few words: where, what, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError, field_validator

from vmat_rt.errors import ConfigError
from vmat_rt.strict import (
    Strict,
    YamlError,
    checked,
    collect_keys,
    load_mapping,
    load_yaml,
    mistakes,
    read_text,
    reason,
)


class Inner(Strict):
    width: int = Field(1, ge=1)
    word: str = "a"

    @field_validator("word")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if "secret" in value:
            raise ValueError("holds what it must not")
        return value


class Outer(Strict):
    name: str
    inner: Inner = Inner()
    numbers: tuple[int, ...] = ()


def test_values_are_frozen_and_unknown_keys_refused() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer(name="a").name = "b"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Outer.model_validate({"name": "a", "nane": "b"})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"name": "a", "inner": {"width": 0}}, "inner.width: input should be greater than or equal to 1, not 0"),
        ({}, "the key name is missing"),
        ({"name": "a", "inner": {"widht": 2}}, "there is no key inner.widht (did you mean width?)"),
        ({"name": "a", "zzzzzzzz": 2}, "there is no key zzzzzzzz"),
        ({"name": "a", "numbers": [1, "b"]}, "numbers.1: input should be a valid integer, unable to parse"),
        ({"name": 3}, "name: input should be a valid string, not 3"),
        ({"name": "a", "inner": {"word": "secret 1962"}}, "inner.word: holds what it must not"),
        ([1], "input should be a valid dictionary"),
    ],
)
def test_each_mistake_is_a_clause(document: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(Outer, document, "file x.yaml")
    text = str(caught.value)
    assert text.casefold().startswith(f"file x.yaml: {said}".casefold())
    assert "1962" not in text, "a value that is refused for what it tells is not repeated"
    assert "\n" not in text
    assert "pydantic" not in text
    assert "validation error" not in text


def test_only_a_few_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match=r"numbers\.4: .*; and 35 more; see the manual$"):
        checked(Outer, {"name": "a", "numbers": ["x"] * 40}, "f", "see the manual")


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        checked(Outer, {"name": "a", "numbers": ["x" * 5000]}, "f")
    assert len(str(caught.value)) < 250


def test_damaged_json_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate_json('{"name": "a", ' + "x" * 1000)
    assert mistakes(caught.value).startswith("Invalid JSON")
    assert len(mistakes(caught.value)) < 150


def test_keys_are_known_at_any_depth() -> None:
    assert collect_keys(Outer) == {"name", "inner", "numbers", "width", "word"}


def test_reasons_are_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({})
    assert reason(caught.value) == "the key name is missing"
    assert reason(ValueError("one\ntwo")) == "one"
    assert reason(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", r"the key a stands twice, again in line 3$"),
        ("a:\n  b: {c: 1, c: 2}\n", r"the key c stands twice, again in line 2$"),
        ("- {a: 1, 'a': 2}\n", r"the key a stands twice"),
        ("a: [1", r"line \d+, column \d+"),
        ("a: !!python/object:os.system 1\n", r"could not determine a constructor .* line 1"),
        ("a: \x00", r"special characters are not allowed|control characters"),
        ("{[1, 2]: 3}", r"unhashable key"),
    ],
)
def test_what_is_not_yaml_is_said_on_a_line(text: str, said: str) -> None:
    with pytest.raises(YamlError, match=said) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)


def test_keys_that_differ_and_merged_ones_are_fine() -> None:
    assert load_yaml("{1: a, '1': b}") == {1: "a", "1": "b"}
    assert load_yaml("base: &b {x: 1, y: 2}\nown: {<<: *b, x: 3}\n")["own"] == {"x": 3, "y": 2}


def test_a_mapping_is_wanted() -> None:
    assert load_mapping("", "f") == {}
    assert load_mapping(b"a: 1\n2: b\n", "f") == {"a": 1, "2": "b"}
    with pytest.raises(ConfigError, match=r"f must be a mapping of keys to values, not \[1\]"):
        load_mapping("[1]", "f")
    with pytest.raises(ConfigError, match="f cannot be read as YAML: the key a stands twice"):
        load_mapping("a: 1\na: 2\n", "f")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="my file cannot be read as text"):
        read_text(tmp_path / "f", "my file")
    with pytest.raises(ConfigError, match="my file cannot be read as text"):
        read_text(tmp_path / "absent", "my file")
