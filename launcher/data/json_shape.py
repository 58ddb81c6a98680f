"""What a file of JSON text is, told by its beginning: rows a line, one array, or one object around an array.

Nothing is parsed only for that: what is parsed of a row here is handed on, and the answer is kept for the next reading.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, BinaryIO

from launcher.data.formats import format_of
from launcher.data.json_text import Fault, is_python, scan_json, without_line

_LOOK = 2**20  # bytes in which the kind of file is told
_KEPT = 64  # files whose shape is remembered

# The key under which a file that is one object has its rows, the usual ones first.
_WRAPPERS = ("data", "train", "rows", "examples", "items", "records", "dataset", "samples", "instances", "results")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')


@dataclass(frozen=True)
class FileShape:
    """Rows a line, where none of these says otherwise.

    ``array``: its rows are in one array, which is the file or, with ``key``, what an object has under it; ``others``
    are that object's other keys, as far as they are seen. ``fault`` is what is wrong with all of it. ``first`` are the
    first rows, as far as they were parsed to find this out.
    """

    array: bool = False
    key: str | None = None
    others: tuple[str, ...] = ()
    fault: tuple[int, Fault] | None = None  # with its line, from 1
    first: Sequence[Any] = ()


_known: dict[Path, tuple[tuple[int, int, int], FileShape]] = {}


def shape_of(stream: BinaryIO, path: Path) -> FileShape:
    """The shape of the text of ``path``, at whose beginning ``stream`` stands and is left."""
    path = path.resolve()
    stat = path.stat()
    state = stat.st_mtime_ns, stat.st_size, stat.st_ino
    if path in _known and _known[path][0] == state:
        return _known[path][1]
    start = stream.tell()
    head = stream.read(_LOOK)
    stream.seek(start)
    text = head.decode("utf-8", "replace")
    found = _look(text, whole=len(head) < _LOOK)
    if not _is_utf8(head):  # then the first row that can be read may be another than the one that was parsed
        found = replace(found, first=())
    if len(_known) >= _KEPT:
        _known.clear()
    _known[path] = state, replace(found, first=())
    return found


def _is_utf8(head: bytes) -> bool:
    """Whether it is, but for a character that the end cuts."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _look(text: str, *, whole: bool) -> FileShape:
    at = skip(text, 0)
    line, _, rest = text[at:].partition("\n")
    if text.startswith("[", at):
        return FileShape() if _is_a_line(line, rest) else FileShape(array=True)
    if not text.startswith("{", at):
        return FileShape()
    value, end = _parsed(line, 0)
    if value is not None:
        alone = line[end:].strip() == ""
        row = _rows_in(value) is None and _columns_in(value) is None
        if row or (alone and rest.lstrip().startswith(("{", "["))):
            return FileShape(first=(value,) if alone else ())
    return _spread(text, at, whole, value, at + end)


def _parsed(text: str, at: int) -> tuple[Any, int]:
    """The value at ``at`` and where it ends; None where it has no end here, which is seen without parsing it."""
    if value_end(text, at) is not None:
        try:
            return scan_json(text, at)
        except ValueError:
            pass
    return None, at


def _is_a_line(line: str, rest: str) -> bool:
    """Whether a list ends on its line, with another line behind it that begins like a row."""
    end = value_end(line, 0)
    return end is not None and line[end:].strip() == "" and rest.lstrip().startswith(("{", "["))


def value_end(text: str, at: int) -> int | None:
    """Where the object or list at ``at`` ends, by its brackets alone; None where it does not."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return None


def _spread(text: str, at: int, whole: bool, value: Any, end: int) -> FileShape:
    """A file that begins with an object which is no row of its own: the key of its rows, or what is wrong with it.

    ``value`` is that object where it was parsed, and ends at ``end``.
    """
    number = text.count("\n", 0, at) + 1
    if value is None:
        value, end = _parsed(text, at)
    if value is None:
        key, first = _early_wrapper(text, at)
        return FileShape(array=True, key=key, first=first) if key is not None else _broken(text, at, whole, number)
    if (key := _rows_in(value)) is not None:
        others = tuple(name for name, item in value.items() if name != key and item not in (None, "", [], {}))
        return FileShape(array=True, key=key, others=others, first=value[key])
    if not text[end:].strip() and (columns := _columns_in(value)) is not None:
        return FileShape(fault=(number, columns))
    if "\n" not in text[at:end]:
        return FileShape()
    fault = Fault(
        "spread",
        "objects that are spread over several lines (pretty-printed), and JSON lines have one a line: "
        "jq -c . FILE > FILE.jsonl",
    )
    return FileShape(fault=(number, fault))


def _broken(text: str, at: int, whole: bool, number: int) -> FileShape:
    """A file that begins with an object of which nothing can be made."""
    # A line alone that is broken is told with its own fault. One that ends in an opening has no end there.
    first = text[at:].split("\n", 1)[0].rstrip()
    if not first.endswith(("{", "[", ",")) or first.endswith("},"):
        return FileShape()
    if whole and is_python(text[at:]):
        said = "is Python literals over several lines, not JSON: write them with json.dumps, one a line"
        return FileShape(fault=(number, Fault("python", said)))
    if "\n" not in text[at:].strip():
        return FileShape()
    try:
        scan_json(text, at)
    except ValueError as error:
        said = f"objects that are spread over several lines, and not JSON: {without_line(error)}"
        return FileShape(fault=(number, Fault("spread", said)))
    return FileShape()


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


def _early_wrapper(text: str, at: int) -> tuple[str | None, Sequence[Any]]:
    """The key of the rows of one large object, of which ``text`` has the beginning only, or whose rows are broken.

    With the first row, where it was parsed.
    """
    position = skip(text, at + 1)
    while position < len(text) and text[position] == '"':
        try:
            key, end = scanstring(text, position + 1, True)
            position = skip(text, end)
            if not text.startswith(":", position):
                return None, ()
            position = skip(text, position + 1)
            first = skip(text, position + 1)
            if text.startswith("[", position) and text.startswith("{", first):
                if key in _WRAPPERS:
                    return str(key), ()
                row = scan_json(text, first)[0]
                if format_of(row) is not None:
                    return str(key), (row,)
            _, position = scan_json(text, position)
        except ValueError:
            return None, ()
        position = skip(text, position)
        if not text.startswith(",", position):
            return None, ()
        position = skip(text, position + 1)
    return None, ()


def skip(text: str, position: int) -> int:
    """Behind the white space at ``position``."""
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
