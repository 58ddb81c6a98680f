"""The files of presets/ as they stand: a process reads each once, and again when it was written to."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from launcher.resources import resource

State = tuple[int, int, int]


def state_of(path: Path) -> State:
    """What changes when a file is written to."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read(path: Path) -> bytes:
    """The bytes of a file of the catalogue."""
    return _read_as_of(path, state_of(path))


@cache
def _read_as_of(path: Path, state: State) -> bytes:
    return path.read_bytes()


def model_named(base_model: str) -> str | None:
    """The name in the catalogue of the model that a trainer is given as ``base_model``."""
    folder = resource("presets", "models")
    return _index(tuple((path, state_of(path)) for path in sorted(folder.glob("*.yaml")))).get(base_model)


@cache
def _index(files: tuple[tuple[Path, State], ...]) -> dict[str, str]:
    """One line of each file is looked at: parsing all of them would cost more than the rest of a check."""
    index = {}
    for path, _ in files:
        found = re.search(rb"^base_model: *[\"']?([^\s\"'#]+)", read(path), re.MULTILINE)
        if found:
            index[found[1].decode()] = path.stem
    return index
