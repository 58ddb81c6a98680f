"""Data files, most with ``--with-data``: do they exist, and are their rows what the config says they are?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.rules.base import Config, Hit, KeyPath, rule
from launcher.trainers import get_trainer

ALPACA = ("instruction", "output")
LOCAL = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")
SHOWN = 3  # lines named in a message


@dataclass(frozen=True)
class DataFile:
    """A local data file that a config names: where it is named, and the columns that its rows must have."""

    key: KeyPath
    path: Path
    columns: tuple[str, ...] = ()
    declared: str = ""  # the type that asks for the columns

    @property
    def is_json(self) -> bool:
        return self.path.suffix in (".json", ".jsonl")


def data_files(c: Config) -> Iterator[DataFile]:
    """The local files of a config. A name without a data file's suffix is a hub data set, unless it exists here."""
    if c.folder is None:
        return
    if c.kind == "unsloth":
        for key in ("train_file", "eval_file"):
            if isinstance(c.get(key), str):
                columns: tuple[str, ...] = ("messages",) if c.get("chat_template") else ("text",)
                yield DataFile(
                    (key,), _resolve(c, c.get(key)), columns, "the chat template" if columns[0] != "text" else "texts"
                )
        return
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            for part, name in _named(data_set):
                if name.endswith(LOCAL) or _resolve(c, name).is_file():
                    columns, declared = _columns(data_set)
                    yield DataFile((key, index, part), _resolve(c, name), columns, declared)


def _named(data_set: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of a data set of Axolotl's that may be files, each with the key that has it."""
    files = data_set.get("data_files")
    for key, name in [("path", data_set.get("path")), *(("data_files", one) for one in _listed(files))]:
        if isinstance(name, str) and "://" not in name:
            yield key, name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _resolve(c: Config, name: str) -> Path:
    """The trainer runs in the config's folder (``ql export`` says so), or where the person is."""
    assert c.folder is not None
    beside = c.folder / name
    return beside if beside.exists() or not Path(name).exists() else Path(name)


def _columns(data_set: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    kind = data_set.get("type")
    if kind == "chat_template":
        return (str(data_set.get("field_messages") or "messages"),), "type: chat_template"
    if kind == "completion":
        return (str(data_set.get("field") or "text"),), "type: completion"
    return (ALPACA, "type: alpaca") if kind == "alpaca" else ((), "")


@rule("QL801", "error", kinds=("axolotl", "unsloth"))
def missing_data_file(c: Config) -> Iterator[Hit]:
    """A data file that is not there (with `--with-data`).

    The trainer looks for it after the model is loaded, and then on the hub.
    """
    for file in data_files(c):
        if not file.path.is_file() and not file.path.is_dir():
            yield c.at(file.key, f"there is no file {file.path}", "relative paths start at the config's folder")


@rule("QL802", "error", kinds=("axolotl", "unsloth"))
def rows_do_not_match(c: Config) -> Iterator[Hit]:
    """Rows without the column that the declared type reads (with `--with-data`).

    The trainer stops with a KeyError in the middle of tokenising.
    """
    if c.folder is None:
        return
    from launcher.data.read import read_lines

    for file in data_files(c):
        if not file.path.is_file() or not file.is_json or not file.columns:
            continue
        for column in file.columns:
            lines = [line.number for line in read_lines(file.path) if line.row is not None and column not in line.row]
            if lines:
                message = f"{len(lines)} rows of {file.path.name} have no {column!r}: {_lines(lines)}"
                yield c.at(file.key, message, f"{file.declared} reads the column {column}")


@rule("QL803", "error", kinds=("axolotl", "unsloth"))
def rows_that_are_not_json(c: Config) -> Iterator[Hit]:
    """Rows that cannot be read (with `--with-data`).

    One of them stops the whole data set. `ql check` lists them all.
    """
    if c.folder is None:
        return
    from launcher.data.read import read_lines

    for file in data_files(c):
        if file.path.is_file() and file.is_json:
            found = list(read_lines(file.path))
            bad = [line for line in found if line.problem]
            if bad:
                message = f"{len(bad)} rows of {file.path.name} cannot be read: {_lines([line.number for line in bad])}"
                yield c.at(file.key, message, bad[0].problem or "")
            elif not found:
                yield c.at(file.key, f"{file.path.name} has no rows", "a row per line")


@rule("QL804", "error", kinds=("axolotl", "unsloth"))
def golden_rows_in_training(c: Config) -> Iterator[Hit]:
    """Rows of the golden set among the training rows (with `--golden`).

    The model has seen the answers: the score measures memory.
    """
    if c.golden is None:
        return
    from launcher.data.formats import BadRow, format_of, normalise
    from launcher.data.golden import GoldenInputs
    from launcher.data.read import read_lines

    golden = GoldenInputs(c.golden)
    for file in data_files(c):
        if file.key[0] not in ("datasets", "train_file") or not file.path.is_file() or not file.is_json:
            continue
        seen = []
        for line in read_lines(file.path):
            form = format_of(line.row) if line.row is not None else None
            if line.row is None or form is None:
                continue
            try:
                row, _ = normalise(line.row, form)
            except BadRow:
                continue  # QL802 and `ql check` speak of it
            if golden.overlap(row):
                seen.append(line.number)
        if seen:
            message = f"{len(seen)} rows of {file.path.name} are in the golden set: {_lines(seen)}"
            yield c.at(file.key, message, "take them out of the training data")


@rule("QL805", "error", kinds=("axolotl", "unsloth"))
def missing_template_file(c: Config) -> Iterator[Hit]:
    """A chat template file that is not there (with `--with-data`).

    Axolotl takes a name that is no file for the template itself: every row becomes that name. train.py stops.
    """
    if c.folder is None:
        return
    if c.kind == "unsloth":
        name = c.get("chat_template")
        if name and not _resolve(c, name).is_file():
            yield c.at("chat_template", f"there is no file {name}", "the name of a .jinja file, or null for texts")
        return
    places: list[tuple[KeyPath, Any]] = [(("chat_template_jinja",), c.get("chat_template_jinja"))]
    places += [(("datasets", i, "chat_template_jinja"), d.get("chat_template_jinja")) for i, d in c.datasets()]
    for path, value in places:
        if isinstance(value, str) and "{" not in value and not _resolve(c, value).is_file():
            yield c.at(path, f"there is no file {value}", "the name of a .jinja file, or the template itself")


@rule("QL806", "warning")
def folder_that_is_a_pattern(c: Config) -> Iterator[Hit]:
    """Relative data in a folder whose path Axolotl takes for a pattern or a variable.

    Its data loader expands the whole path of a file, also `[1]`, `*`, `?` and `$NAME` in the folders above: it finds
    nothing there, or the rows of another folder.
    """
    fault = get_trainer("axolotl").folder_fault(str(c.place)) if c.place else None
    if not fault:
        return
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            on_hub = "/" in str(data_set.get("path"))  # then its data_files are there too
            for part, name in _named(data_set):
                if name.endswith(LOCAL) and not Path(name).is_absolute() and not (on_hub and part == "data_files"):
                    yield c.at((key, index, part), f"{fault}: {c.place}", "move the folder, or the data, elsewhere")
                    return  # it holds for all of them


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:SHOWN])
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{' …' if len(numbers) > SHOWN else ''}"
