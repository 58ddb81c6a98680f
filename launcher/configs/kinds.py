"""Which of ql's kinds of files a text is: by its header, its place, its keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from launcher.resources import trainer_names
from launcher.rules.base import OWN_KINDS, Kind, Version
from launcher.trainers import all_trainers, get_trainer
from launcher.trainers.releases import read_version

HEADER_LINES = 30

_MODELINE = re.compile(r"^\s*#\s*yaml-language-server:\s*\$schema=\S*?([\w.-]+)\.json\s*$")
_PRAGMA = re.compile(r"^\s*#\s*ql:\s*([\w-]+)\s+(\d+)\.(\d+)")
_JOB = re.compile(r"^\s*#\s*ql:\s*job\b")  # what `ql init` begins a file with
_FOLDERS: dict[str, Kind] = {"gpus": "gpu", "models": "model", "families": "family", "recipes": "recipe"}
# Keys that together name one of ql's own kinds; the first that fits wins, then the trainers' own marks.
_MARKS: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("gpu", frozenset({"compute_capability", "vram_gib"})),
    ("model", frozenset({"hidden_size", "num_layers"})),
    ("sizes", frozenset({"sizes"})),
    ("family", frozenset({"launched", "title"})),
    ("preset", frozenset({"gpu", "model", "recipe"})),
    ("run", frozenset({"stages", "state"})),
    ("job", frozenset({"preset"})),
    ("job", frozenset({"gpu", "data"})),
    ("recipe", frozenset({"settings", "title"})),
)


def all_kinds() -> tuple[Kind, ...]:
    """Every kind: the configs of the trainers, and ql's own files."""
    return (*trainer_names(), *OWN_KINDS)


def is_training(kind: Kind | None) -> bool:
    """Whether it is the kind of a trainer's config."""
    return kind in trainer_names()


def newest(kind: Kind) -> Version:
    """The newest release that ql launches of the trainer of that config; of ql's own files no version counts."""
    return get_trainer(kind).newest.version if is_training(kind) else (0, 0)


def header_of(text: str) -> tuple[Kind | None, Version | None]:
    """What the comments at the top say: a modeline's schema, or ``# ql: NAME X.Y`` with a trainer's name."""
    kind: Kind | None = None
    version: Version | None = None
    for line in text.split("\n", HEADER_LINES)[:HEADER_LINES]:
        if found := _MODELINE.match(line):
            name, _, number = found[1].partition("-")
            if name in all_kinds():
                kind = name
                version = read_version(number) or version
        elif _JOB.match(line):
            kind = "job"
        elif (found := _PRAGMA.match(line)) and is_training(found[1]):
            kind, version = found[1], (int(found[2]), int(found[3]))
    return kind, version


def kind_of(data: Any, file: str) -> Kind | None:
    """The kind by the file's place and keys; None when nothing tells."""
    path = Path(file)
    if path.suffix == ".jsonl":
        return "golden"
    if not isinstance(data, dict):
        return None
    if path.parent.parent.name == "presets" and path.parent.name in _FOLDERS:
        return _FOLDERS[path.parent.name]
    keys = {key for key in data if isinstance(key, str)}
    own = next((kind for kind, marks in _MARKS if marks <= keys), None)
    return own or _trainer_of(keys)


def _trainer_of(keys: set[str]) -> Kind | None:
    """The trainer whose marks fit, the one with most keys in them first: ``base_model`` alone says least."""
    marks = [(marks, trainer.name) for trainer in all_trainers() for marks in trainer.marks if marks <= keys]
    return max(marks, key=lambda found: len(found[0]))[1] if marks else None
