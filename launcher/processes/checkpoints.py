"""A trainer's checkpoints: which are complete, and one of them made ready to go on from.

The callback seals each (see inject/ql_checkpoint.py): a list of its files with sizes and hashes, written last.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launcher.files import sha256_file, sync_folder
from launcher.records.codec import Record, decode

SEAL = "ql-complete.json"
STATE = "trainer_state.json"
EXACT = "ql-weights.safetensors"  # the trained weights as they are, where the trainer rounded them
DUE = "ql-evaluation-due"  # the evaluation of its step was left out for a stop (inject/ql_stop.py)
RESUME = "resume"  # the folder in trainer/ for a checkpoint that had to be changed first
_NAME = re.compile(r"checkpoint-(\d{1,9})")


@dataclass(kw_only=True)
class TrainerState(Record):
    """trainer_state.json, as far as it is read here."""

    global_step: int
    max_steps: int
    best_model_checkpoint: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint-N, complete; ``step`` is N, in optimizer steps."""

    path: Path
    step: int

    @property
    def owes_evaluation(self) -> bool:
        """Whether its evaluation is still to be made up: until then nobody knows if it is the best."""
        return (self.path / DUE).exists()

    def state(self) -> TrainerState:
        """The Trainer's own record."""
        return decode(
            TrainerState, json.loads((self.path / STATE).read_text(encoding="utf-8")), file=str(self.path / STATE)
        )


def newest_complete(
    trainer: Path, *, upto: int | None = None, on_bad: Callable[[Path, str], None] = lambda path, reason: None
) -> Checkpoint | None:
    """The newest complete checkpoint in ``trainer`` of at most step ``upto``; None when there is none.

    ``on_bad`` hears of newer ones that are not complete, and why.
    """
    for step, path in _folders(trainer):
        if upto is not None and step > upto:
            continue
        reason = fault(path)
        if reason is None:
            return Checkpoint(path, step)
        on_bad(path, reason)
    return None


def _folders(trainer: Path) -> Iterator[tuple[int, Path]]:
    """Folders called checkpoint-N, newest first."""
    found = []
    for path in trainer.iterdir() if trainer.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append((int(match[1]), path))
    yield from sorted(found, reverse=True)


def fault(path: Path) -> str | None:
    """Why a checkpoint cannot be gone on from; None when it is complete, byte for byte."""
    if path.is_symlink():
        return "is a link: a run is resumed from its own files alone"
    try:
        seal = json.loads((path / SEAL).read_text(encoding="utf-8"))
        files = {str(name): (int(said["bytes"]), str(said["sha256"])) for name, said in seal["files"].items()}
        if seal["version"] != 1 or STATE not in files:
            raise ValueError
    except FileNotFoundError:
        return "was not written to its end"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"its {SEAL} cannot be read"
    for name, (size, digest) in files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            return f"its list names {name!r}, which is outside of it"
        file = path / pure
        if file.is_symlink() or not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size or sha256_file(file) != digest:
            return f"{name} is not as it was written"
    return None


def without(checkpoint: Checkpoint, names: Iterable[str]) -> Checkpoint:
    """The checkpoint itself, or a copy in trainer/resume/ that lacks the files ``names``, where it has any of them.

    The copy's files are hard links: it costs no room, and the original stays as it is.
    """
    dropped = {name for name in names if (checkpoint.path / name).exists()}
    if not dropped:
        return checkpoint
    parent = checkpoint.path.parent / RESUME
    shutil.rmtree(parent, ignore_errors=True)
    copy = parent / checkpoint.path.name
    shutil.copytree(
        checkpoint.path, copy, copy_function=os.link, ignore=lambda _folder, names: dropped.intersection(names)
    )
    return Checkpoint(copy, checkpoint.step)


def discard_after(trainer: Path, step: int) -> None:
    """Remove checkpoints behind ``step``: they were written by a training that had gone wrong."""
    for found, path in _folders(trainer):
        if found > step:
            (path / SEAL).unlink(missing_ok=True)  # first: half a checkpoint must not look like a whole one
            shutil.rmtree(path, ignore_errors=True)
    if trainer.is_dir():
        sync_folder(trainer)
