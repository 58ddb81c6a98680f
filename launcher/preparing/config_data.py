"""The files that an edited config trains on: found, counted, and copied into the run, so that it holds what it used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from launcher.data.formats import BadRow, Row, format_of, normalise, row_line
from launcher.data.survey import KEPT_ROWS, Survey, survey
from launcher.data.write import EVAL_FILE, TRAIN_FILE
from launcher.errors import Problem, RunFailed
from launcher.files import expand, plain_name, sha256_file, write_atomic
from launcher.preparing.config_file import Edited
from launcher.preparing.prepared import GivenFile
from launcher.records.run import DataRecord
from launcher.rules.base import KeyPath
from launcher.trainers import all_trainers
from launcher.trainers.readback import Rows

SAMPLE_FILE = "data/sample.jsonl"
SUFFIXES = (".jsonl", ".json")


@dataclass(frozen=True)
class NamedFile:
    """A file of rows: where the config names it, where it lies, and what it is called inside the run."""

    path: KeyPath  # of the value in the config
    source: Path
    target: str
    named: str  # as the config has it
    trains: bool  # else it is evaluated with
    found: Survey


@dataclass(frozen=True)
class NamedFiles:
    """The rows of a config that names its own files: they are copied as they are."""

    files: tuple[NamedFile, ...]
    chat: bool  # the rows are conversations
    rows: Rows
    excess: str | None

    @property
    def given(self) -> Path:
        """The first file that is trained on."""
        return next(item.source for item in self.files if item.trains)

    @property
    def sha256(self) -> str:
        return sha256_file(self.given)

    def write(self, folder: Path) -> DataRecord:
        """Copy the files into a run, with a sample of their rows for the stage verify.

        Raises RunFailed when the folder cannot be written.
        """
        try:
            (folder / "data").mkdir(exist_ok=True)
            for item in self.files:
                (folder / item.target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(item.source, folder / item.target)
            held_out_first = sorted(self.files, key=lambda item: item.trains)
            rows = [_plain(row, self.chat) for item in held_out_first for row in item.found.first]
            write_atomic(folder / SAMPLE_FILE, "".join(f"{row_line(row)}\n" for row in rows[:KEPT_ROWS]))
        except OSError as error:
            raise RunFailed(f"{folder}: cannot be written: {error.strerror or error}") from error
        hashes = {item.target: sha256_file(folder / item.target) for item in self.files}
        evaluation = self.rows.evaluation or 0
        total = sum(item.found.rows for item in self.files)
        given = str(self.given.resolve())
        return DataRecord(
            path=given, sha256=hashes, train_rows=total - evaluation, eval_rows=evaluation, excess=self.excess
        )


@dataclass(frozen=True)
class SampledFile(GivenFile):
    """Rows given with ``--data`` beside a config: written as in any other launch, and a sample of them."""

    def write(self, folder: Path) -> DataRecord:
        written = super().write(folder)
        sample: list[str] = []
        for name in (EVAL_FILE, TRAIN_FILE):
            if (folder / name).is_file():
                with (folder / name).open(encoding="utf-8") as stream:
                    sample += islice(stream, KEPT_ROWS - len(sample))
        write_atomic(folder / SAMPLE_FILE, "".join(sample))
        return written


def find_named(edited: Edited, read: Mapping[Path, Survey]) -> tuple[tuple[NamedFile, ...], list[Problem]]:
    """The data files of a config, and what is wrong with those that a run cannot take.

    ``read`` are the files that the validator has read already, by their whole path.
    """
    found: list[NamedFile] = []
    problems: list[Problem] = []
    for path, name, trains in edited.reader.files(edited.config):
        named = str(name)
        source = (edited.folder / expand(named)).resolve()
        if not source.is_file() or source.suffix not in SUFFIXES:
            place = edited.positions.value(path)
            what = f"{named} is not a JSONL file that lies here"
            hint = "ql launch keeps the rows that a run was trained on: download them, and name the file"
            problems.append(Problem(what, file=edited.name, line=place.line, column=place.column, hint=hint))
            continue
        target = _target(named, source, [other.target for other in found if other.source != source])
        found.append(NamedFile(path, source, target, named, trains, read.get(source) or survey(source)))
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


def count_rows(files: Iterable[tuple[Survey | None, bool]], held_out: float) -> Rows:
    """The rows that are trained on and evaluated with, of files that are for the one (True) or for the other.

    The trainer holds ``held_out`` of the first back by itself: a share up to 1, else a number of rows.
    """
    train = evaluation = 0
    for found, trains in files:
        count = 0 if found is None else found.rows
        train, evaluation = (train + count, evaluation) if trains else (train, evaluation + count)
    if held_out:
        evaluation = min(train, round(train * held_out if held_out <= 1 else held_out))
        train -= evaluation
    return Rows(train, evaluation)


def moved(config: Mapping[str, object], files: Sequence[NamedFile]) -> dict[str, object]:
    """The top-level keys of a config whose data files have another name inside the run, with those names."""
    changed = deepcopy({key: config[key] for key in {item.path[0] for item in files if item.target != item.named}})
    for item in files:
        if item.path[0] in changed:
            level: Any = changed
            for part in item.path[:-1]:
                level = level[part]
            level[item.path[-1]] = item.target
    return changed


def _plain(row: Row, chat: bool) -> Row:
    """A row to compare models on, as ``{"messages": …}`` or ``{"text": …}``."""
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
