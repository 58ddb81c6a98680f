"""JSON text row by row: an object a line, one array, or one object around an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, BinaryIO

from launcher.data.json_shape import shape_of, skip, value_end
from launcher.data.json_text import RepeatedKey, end_of_json, fault_of, scan_json, strict_json, without_line
from launcher.errors import Unreadable

MAX_LINE = 32 * 2**20  # bytes; some eight million tokens, more than any model reads
MAX_ARRAY = 256 * 2**20  # bytes; a JSON array is read whole


@dataclass(frozen=True)
class Line:
    """A row as it stands in the file: its line (from 1), and either the parsed object or what is wrong with it.

    ``kind`` is the kind of the problem: rows with the same fault have the same.
    """

    number: int
    row: dict[str, object] | None
    problem: str | None = None
    kind: str = "unreadable"


def json_rows(stream: BinaryIO, path: Path) -> Iterator[Line]:
    """Every row of a file of JSON text whose stream stands behind a byte-order mark. Blank lines are passed over."""
    shape = shape_of(stream, path)
    if shape.fault is not None:
        number, fault = shape.fault
        yield Line(number, None, fault.message, fault.kind)
    elif shape.array:
        yield from _array(stream, path, shape.key, shape.first)
    else:
        yield from _json_lines(stream, shape.first)


def _json_lines(stream: BinaryIO, first: Sequence[Any]) -> Iterator[Line]:
    """``first`` has the first row where it was parsed already."""
    number, parsed = 0, iter(first)
    while piece := stream.readline(MAX_LINE + 1):
        number += 1
        if len(piece) > MAX_LINE and not piece.endswith(b"\n"):
            size = len(piece)
            while not piece.endswith(b"\n") and (piece := stream.readline(2**20)):
                size += len(piece)
            yield Line(number, None, f"the line is {size / 2**20:.0f} MiB long; at most {MAX_LINE // 2**20} are read")
            continue
        try:
            text = piece.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            message = f"not UTF-8: byte 0x{error.object[error.start]:02x} at column {error.start + 1}"
            yield Line(number, None, message, "encoding")
            continue
        if text:
            known = next(parsed, None)
            yield _parsed(number, text) if known is None else _line(number, known)


def _parsed(number: int, text: str) -> Line:
    try:
        return _line(number, strict_json(text))
    except RepeatedKey as error:
        return Line(number, None, str(error))
    except ValueError as error:
        fault = fault_of(text)
        if fault is not None:
            return Line(number, None, fault.message, fault.kind)
        more = ": a carriage return alone stands in it, and lines must end with a line feed" if "\r" in text else ""
        return Line(number, None, f"not JSON: {without_line(error)}{more}")


def _array(stream: BinaryIO, path: Path, key: str | None, first: Sequence[Any]) -> Iterator[Line]:
    """The rows of an array: the whole file, or what an object has under ``key``. ``first`` are parsed already."""
    data = stream.read(MAX_ARRAY + 1)
    if len(data) > MAX_ARRAY:
        raise Unreadable(
            f"{path}: a JSON array of more than {MAX_ARRAY // 2**20} MiB is not read",
            hint=f"write it as JSON lines: jq -c '.{key or ''}[]' FILE > FILE.jsonl",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        yield Line(number, None, f"not UTF-8: byte 0x{data[error.start]:02x}", "encoding")
        return
    position = skip(text, _opening(text, key) + 1)
    number, counted, rows = 1, 0, 0
    parsed = iter(first)
    while not text.startswith("]", position):
        number += text.count("\n", counted, position)
        counted = position
        try:
            line, position = _element(text, position, number, next(parsed, None))
        except ValueError as error:
            # Nothing behind a broken element can be read; where none could be, the file is of another kind.
            fault = fault_of(text) if not rows else None
            if fault is not None:
                yield Line(number, None, f"in the array: {fault.message}", fault.kind)
            else:
                yield Line(number, None, f"not JSON, and nothing behind it can be read: {without_line(error)}")
            return
        yield line
        rows += 1
        position = skip(text, position)
        if text.startswith(",", position):
            position = skip(text, position + 1)
        elif not text.startswith("]", position):
            yield Line(number, None, "not JSON: a comma or the array's end is missing behind this row")
            return
    if key is None and text[position + 1 :].strip():
        number += text.count("\n", counted, position)
        yield Line(number, None, "not JSON: there is more behind the array's end")


def _opening(text: str, key: str | None) -> int:
    """Where the array of rows begins."""
    if key is None:
        return text.index("[")
    position = skip(text, text.index("{") + 1)
    while True:
        name, end = scanstring(text, position + 1, True)
        position = skip(text, skip(text, end) + 1)
        if name == key:
            return position
        _, position = scan_json(text, position)
        position = skip(text, skip(text, position) + 1)


def _element(text: str, position: int, number: int, known: Any) -> tuple[Line, int]:
    """The row at ``position`` of an array, and where it ends. Raises ValueError where that cannot be known."""
    if isinstance(known, dict) and (end := value_end(text, position)) is not None:
        return _line(number, known), end
    try:
        value, end = scan_json(text, position)
    except RepeatedKey as error:
        return Line(number, None, str(error)), end_of_json(text, position)
    return _line(number, value), end


def _line(number: int, value: Any) -> Line:
    if isinstance(value, dict):
        return Line(number, value)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and item.keys() & {"role", "from"} for item in value)
    ):
        message = 'a bare list of turns, not an object: a row is {"messages": [ … ]}'
        return Line(number, None, message, "bare_list")
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return Line(number, None, "an object as JSON text, in quotes: it was dumped twice", "twice_dumped")
    return Line(number, None, "not a JSON object")
