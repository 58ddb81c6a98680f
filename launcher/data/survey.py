"""A file of rows in one pass, as a trainer's config asks of it: can they be read, and have they its columns?"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.data.formats import BadRow, Row, format_of, normalise
from launcher.data.golden import GoldenInputs
from launcher.data.read import read_lines

KEPT_ROWS = 16  # as many as verify compares the merged model on


@dataclass(frozen=True)
class Survey:
    """What was found. ``rows`` can be read; lines are numbered from 1.

    ``problem`` is that of the first of the ``unreadable`` lines. ``missing`` has the lines of the rows without a
    column, by column, ``golden`` those that the golden set asks too. ``first`` are the first `KEPT_ROWS` rows.
    """

    rows: int
    unreadable: array[int] = field(default_factory=lambda: array("Q"))
    problem: str = ""
    missing: Mapping[str, array[int]] = field(default_factory=dict)
    golden: array[int] = field(default_factory=lambda: array("Q"))
    first: tuple[Row, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.unreadable


def survey(path: Path, columns: Collection[str] = (), golden: GoldenInputs | None = None) -> Survey:
    """Read the file once. Raises Unreadable when it cannot be read."""
    rows, problem = 0, ""
    first: list[Row] = []
    unreadable, asked = array("Q"), array("Q")
    missing = {column: array("Q") for column in columns}
    for line in read_lines(path):
        if line.row is None:
            unreadable.append(line.number)
            problem = problem or line.problem or ""
            continue
        rows += 1
        if line.row and len(first) < KEPT_ROWS:
            first.append(line.row)
        for column, lines in missing.items():
            if column not in line.row:
                lines.append(line.number)
        if golden is not None and _is_asked(line.row, golden):
            asked.append(line.number)
    return Survey(rows, unreadable, problem, missing, asked, tuple(first))


def survey_of_own(rows: int, columns: Collection[str], present: str) -> Survey:
    """The survey of a file that ql is about to write: ``rows`` rows that have the column ``present``."""
    numbers = array("Q", range(1, rows + 1))
    return Survey(rows, missing={column: numbers for column in columns if column != present})


def _is_asked(row: Row, golden: GoldenInputs) -> bool:
    form = format_of(row)
    if form is None:
        return False
    try:
        return golden.overlap(normalise(row, form)[0]) is not None
    except BadRow:
        return False  # `ql check` speaks of it
