"""Data files, most with ``--with-data``: do they exist, and are their rows what the config says they are?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import counted
from launcher.rules.base import TRAINING, Config, Hit, KeyPath, rule
from launcher.trainers import get_trainer

if TYPE_CHECKING:
    from launcher.data.golden import GoldenInputs
    from launcher.data.survey import Survey

SHOWN = 3  # lines named in a message


@dataclass(frozen=True)
class DataFile:
    """A local data file that a config names: where it is named, and the columns that its rows must have.

    ``given``: what is known of it where it is not written yet.
    """

    key: KeyPath
    path: Path
    trains: bool
    columns: tuple[str, ...] = ()
    declared: str = ""  # the type that asks for the columns
    given: Survey | None = None
    optional: tuple[str, ...] = ()  # these two as `launcher.trainers.config_file.RowFile` has them
    turns: tuple[str, ...] = ()

    @property
    def is_json(self) -> bool:
        return self.path.suffix in (".json", ".jsonl")


def data_files(c: Config) -> Iterator[DataFile]:
    """The local files of a config. A name without a data file's suffix is a hub data set, unless it exists here."""
    if c.folder is None:
        return
    for rows in get_trainer(c.kind).config_file.rows(c):
        path, given = _resolve(c, rows.name), c.supplied.get(rows.name)
        if rows.local or given is not None or path.is_file():
            asked = rows.columns, rows.declared, given, rows.optional, rows.turns
            yield DataFile(rows.path, path, rows.trains, *asked)


def surveyed(c: Config) -> Iterator[tuple[DataFile, Survey]]:
    """The files that can be read, each read once for all rules that ask."""
    files = [file for file in data_files(c) if file.is_json and (file.given is not None or file.path.is_file())]
    golden: GoldenInputs | None = None
    for file in files:
        if file.given is not None:
            yield file, file.given
            continue
        path = file.path.resolve()
        alike = [other for other in files if other.path.resolve() == path]
        columns = {column for other in alike for column in (*other.columns, *other.optional)}
        if path not in c.surveys or not columns <= set(c.surveys[path].missing):
            from launcher.data.golden import GoldenInputs
            from launcher.data.survey import survey

            if c.golden is not None and golden is None:
                golden = GoldenInputs(c.golden)
            asked = golden if any(other.trains for other in alike) else None
            c.surveys[path] = survey(path, columns, asked)
        yield file, c.surveys[path]


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
        # Rows that are given take the place of whatever lies here by the name of another file.
        there = file.given is not None if c.supplied else file.path.is_file() or file.path.is_dir()
        if not there:
            yield c.at(file.key, f"there is no file {file.path}", "relative paths start at the config's folder")


@rule("QL802", "error", kinds=(TRAINING,))
def rows_do_not_match(c: Config) -> Iterator[Hit]:
    """Rows without the column that the declared type reads (with `--with-data`).

    The trainer stops with a KeyError in the middle of tokenising; a type of one's own it trains on without the answer.
    """
    for file, found in surveyed(c):
        for column in file.columns:
            if lines := found.missing.get(column):
                if len(lines) == found.rows > 1 and file.given is None:
                    message, has = f"no row of {file.path.name} has {column!r}", f"; {_has(found)}"
                else:
                    count = counted(len(lines), "row")
                    verb, has = "has" if len(lines) == 1 else "have", ""
                    message = f"{count} of {file.path.name} {verb} no {column!r}: {_lines(lines)}"
                yield c.at(file.key, message, f"{file.declared} reads the column {column}{has}")


@rule("QL807", "error", kinds=(TRAINING,))
def column_that_no_row_has(c: Config) -> Iterator[Hit]:
    """A column, or a key of turns, that the config names and no row has (with `--with-data`).

    The trainer takes an empty text for it, in silence, or masks every turn: it trains on something else, or on nothing.
    """
    for file, found in surveyed(c):
        if file.given is not None or not found.rows:
            continue
        for column in file.optional:
            if len(found.missing.get(column, ())) == found.rows:
                yield c.at(file.key, f"no row of {file.path.name} has {column!r}, which the type names", _has(found))
        turns = [turn for row in found.first for turn in _turns_of(row, file.columns[:1])]
        for key in file.turns if turns else ():
            if not any(key in turn for turn in turns):
                has = ", ".join(sorted({str(name) for turn in turns[:20] for name in turn}))
                hint = f"message_property_mappings: {{role: …, content: …}}; the turns have {has}"
                yield c.at(file.key, f"no turn of {file.path.name} has {key!r}", hint)


def _has(found: Survey) -> str:
    names = sorted({name for row in found.first for name in row})
    return f"the rows have {', '.join(names[:12])}"


def _turns_of(row: Mapping[str, object], columns: Sequence[str]) -> list[Mapping[str, object]]:
    turns = next((row[column] for column in columns if column in row), None)
    return [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []


@rule("QL803", "error", kinds=(TRAINING,))
def rows_that_are_not_json(c: Config) -> Iterator[Hit]:
    """Rows that cannot be read (with `--with-data`).

    One of them stops the whole data set. `ql check` lists them all.
    """
    if c.folder is None:
        return
    from launcher.data.read import rows_under

    for file, found in surveyed(c):
        if file.given is None and (under := rows_under(file.path)) is not None:
            message = f"the rows of {file.path.name} are under {under[0]!r}, and a trainer reads a row per line"
            yield c.at(file.key, message, f"jq -c '.{under[0]}[]' FILE > FILE.jsonl")
        elif bad := found.unreadable:
            count = counted(len(bad), "row")
            message = f"{count} of {file.path.name} cannot be read: {_lines(bad)}"
            yield c.at(file.key, message, found.problem)
        elif found.is_empty:
            yield c.at(file.key, f"{file.path.name} has no rows", "a row per line")


@rule("QL804", "error", kinds=(TRAINING,))
def golden_rows_in_training(c: Config) -> Iterator[Hit]:
    """Rows of the golden set among the training rows (with `--golden`).

    The model has seen the answers: the score measures memory.
    """
    if c.golden is None:
        return
    from launcher.data.opening import open_data

    with open_data(c.golden):
        pass  # also where no rows are to be compared with: it is said that it cannot be read
    for file, found in surveyed(c):
        if file.trains and found.golden:
            count = counted(len(found.golden), "row")
            verb = "is" if len(found.golden) == 1 else "are"
            message = f"{count} of {file.path.name} {verb} in the golden set: {_lines(found.golden)}"
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
        if value not in c.supplied and not _resolve(c, value).is_file():
            yield c.at(path, f"there is no file {value}", reader.template_hint)


def _lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:SHOWN])
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{' …' if len(numbers) > SHOWN else ''}"
