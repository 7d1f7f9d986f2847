"""Whole numbers of patients for each part of a split, overall and in every stratum at once. Exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Row = tuple[int, ...]


def make_exact_fractions(fractions: Sequence[float]) -> tuple[Fraction, ...]:
    """Make fractions as written in decimals, which add up to one: 0.1 is a tenth."""
    read = [Fraction(str(float(fraction))) for fraction in fractions]
    return tuple(fraction / sum(read) for fraction in read)


def round_by_largest_remainder(total: int, fractions: Sequence[Fraction]) -> Row:
    """Shares of `total` by fraction, each within one of its fraction (Hamilton's method; of equal ones the first).

    Every part with a fraction above zero gets one at least, taken from the largest, as far as there are that many.
    """
    wanted = [total * fraction for fraction in fractions]
    sizes = [math.floor(share) for share in wanted]
    by_remainder = sorted(range(len(sizes)), key=lambda part: (sizes[part] - wanted[part], part))
    for part in by_remainder[: total - sum(sizes)]:
        sizes[part] += 1
    for part, fraction in enumerate(fractions):
        if fraction > 0 and sizes[part] == 0 and max(sizes) > 1:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[part] = 1
    return tuple(sizes)


def allocate(strata: Sequence[int], fractions: Sequence[Fraction]) -> tuple[Row, ...]:
    """Patients of each stratum (rows) for each part (columns), given the strata's sizes.

    Rows add up to the strata, columns to the parts' sizes by largest remainder; each cell is its exact share rounded
    down or up (controlled rounding: L. H. Cox, J. Am. Stat. Assoc. 82(398), 520-524, 1987). Where no such table has
    these columns, as in cohorts so small that a part had to be given its one patient, cells may be off by more.
    """
    shares = [[size * fraction for fraction in fractions] for size in strata]
    narrow = [[(math.floor(share), math.ceil(share)) for share in row] for row in shares]
    relaxed = [[(max(0, low - 1), high + 1) for low, high in row] for row in narrow]
    wide = [[(0, size) for _ in fractions] for size in strata]
    columns = round_by_largest_remainder(sum(strata), fractions)
    for bounds in (narrow, relaxed, wide):
        table = _fill_table(strata, columns, bounds)
        if table is not None:
            return table
    raise AssertionError("a table without bounds always exists")


def _fill_table(
    rows: Sequence[int], columns: Row, bounds: Sequence[Sequence[tuple[int, int]]]
) -> tuple[Row, ...] | None:
    """Whole numbers within the bounds that add up to rows and columns; None when there are none.

    From the lower bounds up, one at a time along an alternating path: a row that lacks one gives it to a column that
    lacks one, by way of cells that can take one more and cells that can give one back.
    """
    cells = [[low for low, _ in row] for row in bounds]
    while any(sum(row) < size for row, size in zip(cells, rows, strict=True)):
        row = next(i for i, size in enumerate(rows) if sum(cells[i]) < size)
        path = _find_path(row, cells, columns, bounds)
        if path is None:
            return None
        for sign, i, part in path:
            cells[i][part] += sign
    sums = (tuple(map(sum, cells)), tuple(map(sum, zip(*cells, strict=True))))
    return tuple(map(tuple, cells)) if sums == (tuple(rows), tuple(columns)) else None


def _find_path(
    row: int, cells: list[list[int]], columns: Row, bounds: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[int, int, int]] | None:
    """The shortest chain of (+1 or -1, row, column) from a row that lacks one to a column that does; breadth first."""
    reached: set[int] = set()
    waiting: list[tuple[int, list[tuple[int, int, int]]]] = [(row, [])]
    for i, path in waiting:
        for part, (_, high) in enumerate(bounds[i]):
            if part in reached or cells[i][part] >= high:
                continue
            reached.add(part)
            longer = [*path, (1, i, part)]
            if sum(line[part] for line in cells) < columns[part]:
                return longer
            givers = [k for k in range(len(cells)) if k != i and cells[k][part] > bounds[k][part][0]]
            waiting += [(k, [*longer, (-1, k, part)]) for k in givers]
    return None
