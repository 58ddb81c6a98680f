"""Read a data file row by row, in bounded memory, with the line each row stands on: the one way in, for every kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from launcher.data.columnar import arrow_rows, files_in, folder_notes, parquet_rows
from launcher.data.columns import Columns, renamed
from launcher.data.formats import Format, format_of
from launcher.data.json_lines import Line as Line
from launcher.data.json_lines import json_rows
from launcher.data.json_shape import shape_of
from launcher.data.opening import BOM, open_data
from launcher.data.tables import delimiter_of, table_rows

DETECT_ROWS = 100
MOST_HELD = 10_000  # lines that are kept while the format is looked for


def read_lines(path: Path, columns: Columns | None = None) -> Iterator[Line]:
    """Every row of a data file: JSON lines, an array, CSV, TSV, Parquet, Arrow, packed or not, or a folder of these.

    ``columns`` are the person's names for ql's. A row that cannot be parsed is yielded with its problem; reading goes
    on behind it. Raises Unreadable when there is no such file or it is of a kind that is not read.
    """
    for line in _folder(path) if path.is_dir() else _file(path):
        yield Line(line.number, renamed(line.row, columns)) if columns and line.row is not None else line


def _folder(folder: Path) -> Iterator[Line]:
    number = 0
    for file in files_in(folder):
        before = number
        for line in _file(file):
            number = before + line.number
            yield Line(number, line.row, line.problem, line.kind)


def _file(path: Path) -> Iterator[Line]:
    with open_data(path) as opened:
        if opened.kind == "parquet":
            yield from parquet_rows(path)
            return
        if opened.kind == "arrow":
            yield from arrow_rows(path)
            return
        stream = opened.stream
        head = stream.read(1 << 16)
        delimiter = delimiter_of(opened.name, head.removeprefix(BOM).decode("utf-8", "replace"))
        stream.seek(0 if delimiter is not None or not head.startswith(BOM) else len(BOM))
        yield from table_rows(stream, delimiter) if delimiter is not None else json_rows(stream, path)


def rows_under(path: Path) -> tuple[str, tuple[str, ...]] | None:
    """The key under which a file that is one JSON object has its rows, and its other keys; None for other files."""
    with open_data(path) as opened:
        if opened.kind != "text":
            return None
        marked = opened.stream.read(len(BOM)) == BOM
        opened.stream.seek(len(BOM) if marked else 0)
        shape = shape_of(opened.stream, path)
        return None if shape.key is None else (shape.key, shape.others)


def file_notes(path: Path) -> Iterator[str]:
    """What is to be known of the file itself: where its rows stand in it, and what else is in it that is not read."""
    if path.is_dir():
        yield from folder_notes(path)
        return
    yield from _source_notes(path)
    with open_data(path) as opened:
        if opened.kind == "text" and opened.stream.read(len(BOM)) == BOM:
            yield "the file begins with a byte-order mark, which is passed over"
    found = rows_under(path)
    if found is not None:
        others = ", ".join(json.dumps(key, ensure_ascii=False) for key in found[1][:8])
        yield f"the rows are those under {json.dumps(found[0])}" + (f"; {others} not read" if others else "")


def detect_format(path: Path, columns: Columns | None = None) -> Format | None:
    """The commonest format among the first DETECT_ROWS readable rows, the earlier in a tie; None if none has one."""
    rows = (line.row for line in read_lines(path, columns) if line.row is not None)
    return _commonest(islice(rows, DETECT_ROWS))


def read_with_format(path: Path, columns: Columns | None = None) -> tuple[Format | None, Iterator[Line]]:
    """The file's format, as `detect_format` finds it, and its rows as `read_lines` yields them: each parsed once."""
    lines = read_lines(path, columns)
    head: list[Line] = []
    readable = 0
    for line in lines:
        head.append(line)
        readable += line.row is not None
        if readable == DETECT_ROWS:
            break
        if len(head) == MOST_HELD:  # next to nothing in it can be read: it need not be read fast
            return detect_format(path, columns), read_lines(path, columns)
    return _commonest(line.row for line in head if line.row is not None), chain(head, lines)


def _commonest(rows: Iterable[Mapping[str, object]]) -> Format | None:
    forms = Counter(form for row in rows if (form := format_of(row)) is not None)
    return forms.most_common(1)[0][0] if forms else None


def _source_notes(path: Path) -> Iterator[str]:
    """Where a file that ql fetched comes from (launcher/preparing/hub_data.py), and which splits are not read."""
    beside = path.with_name(path.name + ".source.json")
    if not beside.is_file():
        return
    try:
        source = json.loads(beside.read_text(encoding="utf-8"))
        others = [str(name) for name in source["splits"] if name != source["split"]]
        named = f"{source['name']} of the hub, configuration {source['config']}, split {source['split']}"
    except (OSError, ValueError, KeyError, TypeError):
        return
    yield f"the rows are those of {named}" + (f"; {', '.join(others)} not read" if others else "")
