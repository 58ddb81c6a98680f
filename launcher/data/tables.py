"""CSV and TSV, row by row, in the standard library's reading of them: a header, then one row each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from launcher.data.columns import KNOWN
from launcher.data.json_lines import MAX_LINE, Line

_SUFFIXES = {".csv": ",;\t|", ".tsv": "\t", ".tab": "\t"}


def delimiter_of(name: str, head: str) -> str | None:
    """What separates the fields of a table that begins with ``head``; None where the file is no table.

    A table is told by its suffix. Without one, by a header of which two columns are ones that ql reads.
    """
    first = head.lstrip().split("\n", 1)[0].strip()
    if first.startswith(("{", "[")):
        return None
    suffix = next((end for end in _SUFFIXES if name.lower().endswith(end)), None)
    choices = _SUFFIXES[suffix] if suffix else ",\t;|"
    best = max(choices, key=first.count)
    if suffix:
        return best
    names = [field.strip().strip('"').casefold() for field in first.split(best)]
    return best if first.count(best) and sum(name in KNOWN for name in names) >= 2 else None


def table_rows(stream: BinaryIO, delimiter: str) -> Iterator[Line]:
    """Every row of a table, with the line it begins on. A row with more or fewer fields than the header is told."""
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(_text(stream), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            how = 'a quote is not closed, or one inside of a cell is not doubled ("")'
            yield Line(number, None, f"not a row of a table: {how}: {error}", "table")
            number = reader.line_num + 1
            if "unexpected end" in str(error):
                return
            continue
        start, number = number, reader.line_num + 1
        if not any(field.strip() for field in fields):
            continue
        if header is None:
            header = [field.strip() for field in fields]
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                yield Line(start, None, f"the header names the column {twice!r} twice", "table")
                return
            continue
        yield _row(start, header, fields)


def _row(number: int, header: list[str], fields: list[str]) -> Line:
    if len(fields) != len(header):
        message = (
            f"{len(fields)} fields, and the header has {len(header)}: a text that holds the separator is put in quotes"
        )
        return Line(number, None, message, "table")
    bad = next((char for field in fields for char in field if "\udc80" <= char <= "\udcff"), None)
    if bad is not None:
        return Line(number, None, f"not UTF-8: byte 0x{ord(bad) - 0xDC00:02x}: save it as CSV UTF-8", "encoding")
    return Line(number, dict(zip(header, fields, strict=True)))


def _text(stream: BinaryIO) -> Iterator[str]:
    """The lines as text; a byte that is not UTF-8 becomes half a surrogate pair, by which its row is known."""
    for number, line in enumerate(stream):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")
