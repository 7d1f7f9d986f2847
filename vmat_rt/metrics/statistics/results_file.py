"""The tidy results file: one row for each value of one metric, for one model, seed and case.

CSV with a header line, UTF-8, columns `model`, `seed`, `case`, `metric`, `value` in any order; other columns are kept
out of the way. Or JSON: a list of objects with these keys, or {"rows": [...]}. An empty value (null in JSON) says that
the metric could not be evaluated: absent is not zero. A model without seeds has an empty seed.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vmat_rt.errors import InputError, Problem, raise_errors

FILE_NAMES = ("results.csv", "results.json")


@dataclass(frozen=True)
class ResultRow:
    """One value. value is None where the metric could not be evaluated."""

    model: str
    seed: str
    case: str
    metric: str
    value: float | None


COLUMNS = tuple(field.name for field in fields(ResultRow))


def write_results(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write a results file as CSV; values keep every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**asdict(row), "value": "" if row.value is None else repr(float(row.value))})


def read_results(path: Path) -> tuple[ResultRow, ...]:
    """Read a results file, or the one in a folder. Raises InputError with every problem found."""
    file = _find(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        records = _from_json(text) if file.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            Problem(
                "RESULTS_UNREADABLE", f"{file.name} cannot be read: {error}", "Write it again with vmat-rt evaluate."
            )
        ) from error
    if not records:
        raise InputError(Problem("RESULTS_EMPTY", f"{file.name} has no rows.", "Evaluate at least one case."))
    rows, problems = [], []
    for number, record in enumerate(records, start=1):
        try:
            rows.append(_parse_row(record))
        except (ValueError, TypeError) as error:
            message = f"{file.name}, row {number}: {error}."
            problems.append(Problem("RESULTS_ROW", message, f"Each row needs {', '.join(COLUMNS)}."))
    raise_errors(problems)
    return tuple(rows)


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise InputError(
        Problem(
            "RESULTS_ABSENT", f"{path.name} holds no {' or '.join(FILE_NAMES)}.", "Give a folder of vmat-rt evaluate."
        )
    )


def _from_json(text: str) -> list[Mapping[str, Any]]:
    content = json.loads(text)
    records = content.get("rows") if isinstance(content, dict) else content
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("it is neither a list of rows nor an object with rows")
    return records


def _parse_row(record: Mapping[str, Any]) -> ResultRow:
    if None in record:  # a decimal comma makes one
        raise ValueError("it has more fields than the header")
    absent = [name for name in COLUMNS if name not in record and name != "seed"]
    if absent:
        raise ValueError(f"{', '.join(absent)} missing")
    names = {name: "" if record.get(name) is None else str(record[name]).strip() for name in COLUMNS[:-1]}
    empty = [name for name, text in names.items() if not text and name != "seed"]
    if empty:
        raise ValueError(f"{', '.join(empty)} empty")
    given = record["value"]
    if given is None or str(given).strip() == "":
        return ResultRow(**names, value=None)
    value = float(given)
    if math.isinf(value):
        raise ValueError("the value is infinite")
    return ResultRow(**names, value=None if math.isnan(value) else value)
