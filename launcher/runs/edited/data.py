"""The files that an edited config trains on: found, counted, and copied into the run, so that it holds what it used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from launcher.data.formats import BadRow, format_of, normalise, row_line
from launcher.data.read import read_lines
from launcher.errors import Problem, RunFailed
from launcher.files import expand, plain_name, sha256_file, write_atomic
from launcher.rules.base import Config, KeyPath
from launcher.trainers import all_trainers, get_trainer
from launcher.trainers.readback import Rows
from launcher.yaml_source import Positions

SAMPLE_FILE = "data/sample.jsonl"
SAMPLE_ROWS = 16  # as many as verify compares the merged model on
SUFFIXES = (".jsonl", ".json")


@dataclass(frozen=True)
class DataFile:
    """A file of rows: where the config names it, where it lies, and what it is called inside the run."""

    path: KeyPath  # of the value in the config
    source: Path
    target: str
    rows: int
    named: str  # as the config has it
    trains: bool  # else it is evaluated with


def find_data(
    config: Config, folder: Path, file: str, positions: Positions
) -> tuple[tuple[DataFile, ...], list[Problem]]:
    """The data files of a config in ``folder``, and what is wrong with those that a run cannot take."""
    found: list[DataFile] = []
    problems: list[Problem] = []
    for path, name, trains in get_trainer(config.kind).config_file.files(config):
        named, place = str(name), positions.value(path)
        source = (folder / expand(named)).resolve()
        if not source.is_file() or source.suffix not in SUFFIXES:
            what = f"{named} is not a JSONL file that lies here"
            hint = "ql launch keeps the rows that a run was trained on: download them, and name the file"
            problems.append(Problem(what, file=file, line=place.line, column=place.column, hint=hint))
            continue
        target = _target(named, source, [other.target for other in found if other.source != source])
        rows = sum(line.row is not None for line in read_lines(source))
        found.append(DataFile(path, source, target, rows, named, trains))
    return tuple(found), problems


def _target(named: str, source: Path, taken: Sequence[str]) -> str:
    """The file's place inside the run: its own where that is under data/, else data/ and its name."""
    own = PurePosixPath(named)
    inside = own.parts[:1] == ("data",) and ".." not in own.parts
    target = own if inside else PurePosixPath("data", source.name)
    if any(trainer.folder_fault(str(target)) for trainer in all_trainers()):
        target = PurePosixPath("data", plain_name(source.name))
    count = 1
    while str(target) in (*taken, SAMPLE_FILE):
        count += 1
        target = PurePosixPath("data", f"{plain_name(source.stem)}-{count}{source.suffix}")
    return str(target)


def count_rows(files: Sequence[DataFile], held_out: float) -> Rows:
    """The rows that are trained on and evaluated with.

    The trainer holds ``held_out`` of the first back by itself: a share up to 1, else a number of rows.
    """
    train = sum(item.rows for item in files if item.trains)
    evaluation = sum(item.rows for item in files if not item.trains)
    if held_out:
        evaluation = min(train, round(train * held_out if held_out <= 1 else held_out))
        train -= evaluation
    return Rows(train, evaluation)


def moved(config: dict[str, Any], files: Sequence[DataFile]) -> dict[str, Any]:
    """The top-level keys of a config whose data files have another name inside the run, with those names."""
    changed = deepcopy({key: config[key] for key in {item.path[0] for item in files if item.target != item.named}})
    for item in files:
        if item.path[0] in changed:
            level: Any = changed
            for part in item.path[:-1]:
                level = level[part]
            level[item.path[-1]] = item.target
    return changed


def copy_data(files: Sequence[DataFile], folder: Path, *, chat: bool) -> dict[str, Any]:
    """Copy the files into a run, with a sample of their rows for the stage verify; facts for the manifest.

    ``chat``: the rows are conversations. Raises RunFailed when the folder cannot be written.
    """
    try:
        (folder / "data").mkdir(exist_ok=True)
        for item in files:
            (folder / item.target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.source, folder / item.target)
        write_sample(files, folder, chat=chat)
    except OSError as error:
        raise RunFailed(f"{folder}: cannot be written: {error.strerror or error}") from error
    return {"sha256": {item.target: sha256_file(folder / item.target) for item in files}}


def write_sample(files: Sequence[DataFile], folder: Path, *, chat: bool) -> None:
    """Write the sample of the files' rows into a run."""
    write_atomic(folder / SAMPLE_FILE, "".join(f"{row_line(row)}\n" for row in _sample(files, chat)))


def _sample(files: Sequence[DataFile], chat: bool) -> list[dict[str, Any]]:
    """Rows to compare models on, held-out ones first, as ``{"messages": …}`` or ``{"text": …}``."""
    ordered = sorted(files, key=lambda item: item.trains)
    rows = (line.row for item in ordered for line in read_lines(item.source) if line.row)
    return list(islice((_plain(row, chat) for row in rows), SAMPLE_ROWS))


def _plain(row: dict[str, Any], chat: bool) -> dict[str, Any]:
    form = format_of(row)
    if chat and form in ("messages", "sharegpt"):
        try:
            return normalise(row, form)[0]
        except BadRow:
            pass
    if isinstance(row.get("text"), str):
        return {"text": row["text"]}
    words = [value for value in row.values() if isinstance(value, str)]
    return {"text": "\n".join(words) or json.dumps(row, ensure_ascii=False)}
