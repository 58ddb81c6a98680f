"""Data files, most with ``--with-data``: do they exist, and are their rows what the config says they are?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.rules.base import TRAINING, Config, Hit, KeyPath, rule
from launcher.trainers import get_trainer

SHOWN = 3  # lines named in a message


@dataclass(frozen=True)
class DataFile:
    """A local data file that a config names: where it is named, and the columns that its rows must have."""

    key: KeyPath
    path: Path
    trains: bool
    columns: tuple[str, ...] = ()
    declared: str = ""  # the type that asks for the columns

    @property
    def is_json(self) -> bool:
        return self.path.suffix in (".json", ".jsonl")


def data_files(c: Config) -> Iterator[DataFile]:
    """The local files of a config. A name without a data file's suffix is a hub data set, unless it exists here."""
    if c.folder is None:
        return
    for rows in get_trainer(c.kind).config_file.rows(c):
        path = _resolve(c, rows.name)
        if rows.local or path.is_file():
            yield DataFile(rows.path, path, rows.trains, rows.columns, rows.declared)


def _resolve(c: Config, name: str) -> Path:
    """The trainer runs in the config's folder (``ql export`` says so), or where the person is."""
    assert c.folder is not None
    beside = c.folder / name
    return beside if beside.exists() or not Path(name).exists() else Path(name)


@rule("QL801", "error", kinds=(TRAINING,))
def missing_data_file(c: Config) -> Iterator[Hit]:
    """A data file that is not there (with `--with-data`).

    The trainer looks for it after the model is loaded, and then on the hub.
    """
    for file in data_files(c):
        if not file.path.is_file() and not file.path.is_dir():
            yield c.at(file.key, f"there is no file {file.path}", "relative paths start at the config's folder")


@rule("QL802", "error", kinds=(TRAINING,))
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


@rule("QL803", "error", kinds=(TRAINING,))
def rows_that_are_not_json(c: Config) -> Iterator[Hit]:
    """Rows that cannot be read (with `--with-data`).

    One of them stops the whole data set. `ql check` lists them all.
    """
    if c.folder is None:
        return
    from launcher.data.read import read_lines, rows_under

    for file in data_files(c):
        if file.path.is_file() and file.is_json:
            found = list(read_lines(file.path))
            bad = [line for line in found if line.problem]
            if (under := rows_under(file.path)) is not None:
                message = f"the rows of {file.path.name} are under {under[0]!r}, and a trainer reads a row per line"
                yield c.at(file.key, message, f"jq -c '.{under[0]}[]' FILE > FILE.jsonl")
            elif bad:
                message = f"{len(bad)} rows of {file.path.name} cannot be read: {_lines([line.number for line in bad])}"
                yield c.at(file.key, message, bad[0].problem or "")
            elif not found:
                yield c.at(file.key, f"{file.path.name} has no rows", "a row per line")


@rule("QL804", "error", kinds=(TRAINING,))
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
        if not file.trains or not file.path.is_file() or not file.is_json:
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


@rule("QL805", "error", kinds=(TRAINING,))
def missing_template_file(c: Config) -> Iterator[Hit]:
    """A chat template file that is not there (with `--with-data`).

    A trainer may take a name that is no file for the template itself: every row becomes that name. Another one stops.
    """
    if c.folder is None:
        return
    reader = get_trainer(c.kind).config_file
    for path, value in reader.templates(c):
        if not _resolve(c, value).is_file():
            yield c.at(path, f"there is no file {value}", reader.template_hint)


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:SHOWN])
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{' …' if len(numbers) > SHOWN else ''}"
