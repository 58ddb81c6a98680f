"""Parquet and Arrow files, and data set folders saved to disk, batch by batch. Needs pyarrow (the extra ``data``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.data.json_lines import Line
from launcher.data.opening import library
from launcher.errors import Unreadable

_BATCH = 256  # rows held at a time
_SPLITS = ("train", "training")
_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")


def parquet_rows(path: Path) -> Iterator[Line]:
    """Every row of a Parquet file; its line is its number, from 1."""
    module = library("pyarrow.parquet", path, "is a Parquet file")
    with _reading(path):
        file = module.ParquetFile(str(path))
        batches = file.iter_batches(batch_size=_BATCH)
        yield from _lines(batches, 0)


def arrow_rows(path: Path, before: int = 0) -> Iterator[Line]:
    """Every row of an Arrow file, of its file format or its stream format; ``before`` rows stand in front of it."""
    library("pyarrow", path, "is an Arrow file")
    module = library("pyarrow.ipc", path, "is an Arrow file")
    with _reading(path), path.open("rb") as stream:
        whole = stream.read(6) == b"ARROW1"
        stream.seek(0)
        reader = module.open_file(stream) if whole else module.open_stream(stream)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if whole else reader
        parts = (batch.slice(at, _BATCH) for batch in batches for at in range(0, batch.num_rows, _BATCH))
        yield from _lines(parts, before)


class _reading:
    """What pyarrow raises where a file is broken, as one error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and (isinstance(error, OSError) or type(error).__module__.startswith("pyarrow")):
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise Unreadable(f"{self.path}: cannot be read: {said}") from None


def _lines(batches: Any, before: int) -> Iterator[Line]:
    number = before
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield Line(number, _without_nulls(row))


def _without_nulls(value: Any) -> Any:
    """What columns of one type add to a row: every object has the keys of all others, with nothing in them."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def files_in(folder: Path) -> list[Path]:
    """The files of a data set folder, in order. Raises Unreadable where it is none, or holds several sets of rows.

    A folder saved to disk names its files in state.json, and its splits in dataset_dict.json; of several splits the
    one called train is taken. Of other folders, with one data file, or with shards of a split called train, that.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _object(folder / "dataset_dict.json").get("splits")
        names = [str(name) for name in splits] if isinstance(splits, list) else []
        chosen = next(
            (name for name in (*_SPLITS, *names[:1]) if name in names and (name in _SPLITS or len(names) == 1)), None
        )
        if chosen is None:
            found = ", ".join(names) or "none"
            raise Unreadable(f"{folder}: is a data set with the splits {found}", hint=f"name one: {folder}/SPLIT")
        return files_in(folder / chosen)
    if (folder / "state.json").is_file():
        listed = _object(folder / "state.json").get("_data_files")
        files = [folder / str(item.get("filename")) for item in listed or [] if isinstance(item, dict)]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None or not files:
            raise Unreadable(f"{folder}: is not whole: {missing.name if missing else 'state.json names no file'}")
        return files
    return _plain_files(folder)


def folder_notes(folder: Path) -> Iterator[str]:
    """Which files of a folder are read, where it holds others too."""
    files = files_in(folder)
    place = files[0].parent
    if place != folder and (folder / "dataset_dict.json").is_file():
        splits = _object(folder / "dataset_dict.json").get("splits")
        others = [str(name) for name in splits if name != place.name] if isinstance(splits, list) else []
        if others:
            yield f"the rows are those of the split {place.name}; {', '.join(others)} not read"
    elif not (place / "state.json").is_file():
        unread = [item.name for item in sorted(place.iterdir()) if _suffix(item) in _SUFFIXES and item not in files]
        unread = [name for name in unread if not name.startswith((".", "dataset_info"))]
        if unread or len(files) > 1:
            names = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
            yield f"the rows are those of {names}" + (f"; {', '.join(unread[:5])} not read" if unread else "")


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}


def _plain_files(folder: Path) -> list[Path]:
    places = (folder, folder / "data")
    found = sorted(
        item
        for place in places
        if place.is_dir()
        for item in place.iterdir()
        if item.is_file() and _suffix(item) in _SUFFIXES and not item.name.startswith((".", "dataset_info"))
    )
    shards = [file for file in found if file.name.lower().startswith(_SPLITS)]
    chosen = found if len(found) == 1 else shards
    if len({_suffix(file) for file in chosen}) == 1:
        return chosen
    if not found:
        raise Unreadable(f"{folder}: is a folder without data files", hint=f"one of {', '.join(_SUFFIXES)}")
    names = ", ".join(file.name for file in found[:5]) + (", …" if len(found) > 5 else "")
    raise Unreadable(f"{folder}: is a folder with several data files: {names}", hint="name one of them")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for packed in (".gz", ".zst"):
        name = name.removesuffix(packed)
    return Path(name).suffix
