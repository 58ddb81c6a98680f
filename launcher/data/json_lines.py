"""JSON text row by row: an object a line, one array, or one object around an array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, BinaryIO

from launcher.data.formats import format_of
from launcher.data.json_text import Fault, RepeatedKey, end_of_json, fault_of, is_python, scan_json, strict_json
from launcher.errors import Unreadable

MAX_LINE = 32 * 2**20  # bytes; some eight million tokens, more than any model reads
MAX_ARRAY = 256 * 2**20  # bytes; a JSON array is read whole
_LOOK = 2**20  # bytes in which the kind of file is told

# The key under which a file that is one object has its rows, the usual ones first.
_WRAPPERS = ("data", "train", "rows", "examples", "items", "records", "dataset", "samples", "instances", "results")


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
    start = stream.tell()
    head = stream.read(_LOOK)
    whole = len(head) < _LOOK
    stream.seek(start)
    text = head.decode("utf-8", "replace")
    at = _skip(text, 0)
    if text.startswith("[", at) and not _line_of_its_own(text, at):
        yield from _array(stream, path, None)
    elif (
        text.startswith("{", at) and not _line_of_its_own(text, at) and (fault := _spread(text, at, whole)) is not None
    ):
        if isinstance(fault, str):
            yield from _array(stream, path, fault)
        else:
            yield Line(text.count("\n", 0, at) + 1, None, fault.message, fault.kind)
    else:
        yield from _json_lines(stream)


def wrapping(stream: BinaryIO) -> tuple[str, tuple[str, ...]] | None:
    """The key under which a file that is one object has its rows, and its other keys as far as they are seen."""
    text = stream.read(_LOOK).decode("utf-8", "replace")
    at = _skip(text, 0)
    if not text.startswith("{", at) or _line_of_its_own(text, at):
        return None
    found = _spread(text, at, True)
    if not isinstance(found, str):
        return None
    try:
        value, _ = scan_json(text, at)
    except ValueError:
        return found, ()
    return found, tuple(key for key, item in value.items() if key != found and item not in (None, "", [], {}))


def _line_of_its_own(text: str, at: int) -> bool:
    """Whether the value at ``at`` ends on its line with another line behind it that begins like a row."""
    line, _, rest = text[at:].partition("\n")
    try:
        value, end = scan_json(line, 0)
    except ValueError:
        return False
    if isinstance(value, dict) and not _rows_in(value) and not _columns_in(value):
        return True
    return line[end:].strip() == "" and rest.lstrip().startswith(("{", "["))


def _spread(text: str, at: int, whole: bool) -> Fault | str | None:
    """A file that begins with an object of several lines: the key of its rows, or what is wrong with it; else None."""
    try:
        value, end = scan_json(text, at)
    except ValueError as error:
        key = _early_wrapper(text, at)
        if key is not None:
            return key
        # A line alone that is broken is told with its own fault. One that ends in an opening has no end there.
        first = text[at:].split("\n", 1)[0].rstrip()
        if not first.endswith(("{", "[", ",")) or first.endswith("},"):
            return None
        if whole and is_python(text[at:]):
            return Fault(
                "python", "is Python literals over several lines, not JSON: write them with json.dumps, one a line"
            )
        message = f"objects that are spread over several lines, and not JSON: {without_line(error)}"
        return Fault("spread", message) if "\n" in text[at:].strip() else None
    if (key := _rows_in(value)) is not None:
        return key
    if not text[end:].strip() and (columns := _columns_in(value)) is not None:
        return columns
    if "\n" not in text[at:end]:
        return None
    return Fault(
        "spread",
        "objects that are spread over several lines (pretty-printed), and JSON lines have one a line: "
        "jq -c . FILE > FILE.jsonl",
    )


def _rows_in(value: Any) -> str | None:
    """The key of an object that holds the rows of a file, or None for an object that is a row itself."""
    if not isinstance(value, dict):
        return None
    lists = {
        key: item[0] for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)
    }
    rows = [key for key, first in lists.items() if format_of(first) is not None]
    if rows:
        return next((key for key in _WRAPPERS if key in rows), rows[0])
    return next((key for key in _WRAPPERS if key in lists), None) if format_of(value) is None else None


def _columns_in(value: Any) -> Fault | None:
    """The fault of a file that is one object of columns, or of rows by number, as tables are dumped by default."""
    items = list(value.values()) if isinstance(value, dict) else []
    lists = len(items) > 1 and all(isinstance(item, list) and item and isinstance(item[0], str) for item in items)
    numbered = bool(items) and all(isinstance(item, dict) and item and all(k.isdigit() for k in item) for item in items)
    by_row = bool(items) and all(key.isdigit() for key in value) and all(isinstance(item, dict) for item in items)
    if not (lists or numbered or by_row):
        return None
    what = "rows by their number" if by_row else "columns"
    message = f"one object of {what}, not rows: from pandas, to_json(FILE, orient='records', lines=True)"
    return Fault("columns", message)


def _early_wrapper(text: str, at: int) -> str | None:
    """The key of the rows of one large object, of which ``text`` has the beginning only; or whose rows are broken."""
    position = _skip(text, at + 1)
    while position < len(text) and text[position] == '"':
        try:
            key, end = scanstring(text, position + 1, True)
            position = _skip(text, end)
            if not text.startswith(":", position):
                return None
            position = _skip(text, position + 1)
            first = _skip(text, position + 1)
            begins = text.startswith("[", position) and text.startswith("{", first)
            if begins and (key in _WRAPPERS or format_of(scan_json(text, first)[0]) is not None):
                return str(key)
            _, position = scan_json(text, position)
        except ValueError:
            return None
        position = _skip(text, position)
        if not text.startswith(",", position):
            return None
        position = _skip(text, position + 1)
    return None


def _json_lines(stream: BinaryIO) -> Iterator[Line]:
    number = 0
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
            yield _parsed(number, text)


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


def _array(stream: BinaryIO, path: Path, key: str | None) -> Iterator[Line]:
    """The rows of an array: the whole file, or what an object has under ``key``."""
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
    position = _skip(text, _opening(text, key) + 1)
    number, counted, rows = 1, 0, 0
    while not text.startswith("]", position):
        number += text.count("\n", counted, position)
        counted = position
        try:
            line, position = _element(text, position, number)
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
        position = _skip(text, position)
        if text.startswith(",", position):
            position = _skip(text, position + 1)
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
    position = _skip(text, text.index("{") + 1)
    while True:
        name, end = scanstring(text, position + 1, True)
        position = _skip(text, _skip(text, end) + 1)
        if name == key:
            return position
        _, position = scan_json(text, position)
        position = _skip(text, _skip(text, position) + 1)


def _element(text: str, position: int, number: int) -> tuple[Line, int]:
    """The row at ``position`` of an array, and where it ends. Raises ValueError where that cannot be known."""
    try:
        value, end = scan_json(text, position)
    except RepeatedKey as error:
        return Line(number, None, str(error)), end_of_json(text, position)
    return _line(number, value), end


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


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


def without_line(error: ValueError) -> str:
    """A decoder's message without its own line number, which counts within the row."""
    message, position = getattr(error, "msg", None), getattr(error, "pos", None)
    return f"{message} at column {position + 1}" if message and position is not None else str(error)
