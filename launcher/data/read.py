"""Read a data file row by row, in bounded memory, with the line each row stands on."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from launcher.data.formats import Format, RepeatedKey, end_of_json, format_of, scan_json, strict_json
from launcher.errors import Unreadable

MAX_LINE = 32 * 2**20  # bytes; some eight million tokens, more than any model reads
MAX_ARRAY = 256 * 2**20  # bytes; a JSON array is read whole
DETECT_ROWS = 100
MOST_HELD = 10_000  # lines that are kept while the format is looked for

_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\x1f\x8b": ("is compressed (gzip)", "unpack it first: gunzip FILE"),
    b"PK\x03\x04": ("is a zip archive", "unpack it first"),
    b"\x28\xb5\x2f\xfd": ("is compressed (zstd)", "unpack it first: zstd -d FILE"),
    b"PAR1": ("is a Parquet file", "write it as JSON lines first, one object a line"),
    b"ARROW1": ("is an Arrow file", "write it as JSON lines first, one object a line"),
    b"\xff\xfe": ("is UTF-16 text", "write it as UTF-8"),
    b"\xfe\xff": ("is UTF-16 text", "write it as UTF-8"),
}


@dataclass(frozen=True)
class Line:
    """A row as it stands in the file: its line (from 1), and either the parsed object or what is wrong with it."""

    number: int
    row: dict[str, object] | None
    problem: str | None = None


def read_lines(path: Path) -> Iterator[Line]:
    """Every row of a JSONL file, or of a file that holds one JSON array. Blank lines are passed over.

    A row that cannot be parsed is yielded with its problem; reading goes on behind it. A line longer than MAX_LINE
    is never held in memory. Raises Unreadable when there is no such file or it is plainly no text.
    """
    with open_data(path) as stream:
        head = stream.read(4096)
        stream.seek(3 if head.startswith(_BOM) else 0)
        if head.removeprefix(_BOM).lstrip().startswith(b"["):
            yield from _array(stream, path)
        else:
            yield from _json_lines(stream)


def open_data(path: Path) -> BinaryIO:
    """The file, open for reading. Raises Unreadable when it cannot be read or is of a kind that is no text."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable(f"{path}: is a folder, not a data file")
        if not stat.S_ISREG(mode):
            raise Unreadable(f"{path}: is not a regular file", hint="the data is read twice: write it to a file first")
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise Unreadable(f"{path}: no such data file") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read: {error}") from error
    head = stream.read(8)
    stream.seek(0)
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            stream.close()
            raise Unreadable(f"{path}: {what}", hint=hint)
    return stream


def has_bom(path: Path) -> bool:
    """Whether the file begins with a UTF-8 byte-order mark, which is passed over."""
    with open_data(path) as stream:
        return stream.read(3) == _BOM


def detect_format(path: Path) -> Format | None:
    """The commonest format among the first DETECT_ROWS readable rows, the earlier in a tie; None if none has one."""
    rows = (line.row for line in read_lines(path) if line.row is not None)
    return _commonest(islice(rows, DETECT_ROWS))


def read_with_format(path: Path) -> tuple[Format | None, Iterator[Line]]:
    """The file's format, as `detect_format` finds it, and its rows as `read_lines` yields them: each parsed once."""
    lines = read_lines(path)
    head: list[Line] = []
    readable = 0
    for line in lines:
        head.append(line)
        readable += line.row is not None
        if readable == DETECT_ROWS:
            break
        if len(head) == MOST_HELD:  # next to nothing in it can be read: it need not be read fast
            return detect_format(path), read_lines(path)
    return _commonest(line.row for line in head if line.row is not None), chain(head, lines)


def _commonest(rows: Iterable[Mapping[str, object]]) -> Format | None:
    forms = Counter(form for row in rows if (form := format_of(row)) is not None)
    return forms.most_common(1)[0][0] if forms else None


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
            if text:
                yield _line(number, strict_json(text))
        except UnicodeDecodeError as error:
            yield Line(number, None, f"not UTF-8: byte 0x{error.object[error.start]:02x} at column {error.start + 1}")
        except RepeatedKey as error:
            yield Line(number, None, str(error))
        except ValueError as error:
            alone = b"\r" in piece.rstrip()
            more = ": a carriage return alone stands in it, and lines must end with a line feed" if alone else ""
            yield Line(number, None, f"not JSON: {_without_line(error)}{more}")


def _array(stream: BinaryIO, path: Path) -> Iterator[Line]:
    data = stream.read(MAX_ARRAY + 1)
    if len(data) > MAX_ARRAY:
        raise Unreadable(
            f"{path}: a JSON array of more than {MAX_ARRAY // 2**20} MiB is not read",
            hint="write it as JSON lines: jq -c '.[]' FILE > FILE.jsonl",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        yield Line(number, None, f"not UTF-8: byte 0x{data[error.start]:02x}")
        return
    position = _skip(text, text.index("[") + 1)
    number, counted = 1, 0
    while not text.startswith("]", position):
        number += text.count("\n", counted, position)
        counted = position
        try:
            line, position = _element(text, position, number)
        except ValueError as error:
            yield Line(number, None, f"not JSON, and nothing behind it can be read: {_without_line(error)}")
            return
        yield line
        position = _skip(text, position)
        if text.startswith(",", position):
            position = _skip(text, position + 1)
        elif not text.startswith("]", position):
            yield Line(number, None, "not JSON: a comma or the array's end is missing behind this row")
            return
    if text[position + 1 :].strip():
        number += text.count("\n", counted, position)
        yield Line(number, None, "not JSON: there is more behind the array's end")


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
    return Line(number, None, "not a JSON object")


def _without_line(error: ValueError) -> str:
    """A decoder's message without its own line number, which counts within the row."""
    message, position = getattr(error, "msg", None), getattr(error, "pos", None)
    return f"{message} at column {position + 1}" if message and position is not None else str(error)
