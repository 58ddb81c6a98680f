"""Which of ql's kinds of files a text is: by its header, its place, its keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from launcher.rules.base import Kind, Version

NEWEST: Version = (0, 19)
AXOLOTL_VERSIONS: tuple[Version, ...] = ((0, 17), (0, 18), NEWEST)
KINDS: tuple[Kind, ...] = ("axolotl", "unsloth", "preset", "gpu", "model", "recipe", "golden", "run", "job")
HEADER_LINES = 30

_MODELINE = re.compile(r"^\s*#\s*yaml-language-server:\s*\$schema=\S*?([\w.-]+)\.json\s*$")
_PRAGMA = re.compile(r"^\s*#\s*ql:\s*(axolotl)\s+(\d+)\.(\d+)")
_JOB = re.compile(r"^\s*#\s*ql:\s*job\b")  # what `ql init` begins a file with
_FOLDERS: dict[str, Kind] = {"gpus": "gpu", "models": "model", "recipes": "recipe"}
# Keys that together name a kind; the first that fits wins.
_MARKS: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("gpu", frozenset({"compute_capability", "vram_gib"})),
    ("model", frozenset({"hidden_size", "num_layers"})),
    ("preset", frozenset({"gpu", "model", "recipe"})),
    ("run", frozenset({"stages", "state"})),
    ("job", frozenset({"preset"})),
    ("job", frozenset({"gpu", "data"})),
    ("unsloth", frozenset({"base_model", "train_file"})),
    ("recipe", frozenset({"settings", "title"})),
    ("axolotl", frozenset({"base_model"})),
    ("axolotl", frozenset({"datasets"})),
    ("axolotl", frozenset({"adapter"})),
)


def version_name(version: Version) -> str:
    """As in the name of its schema: 0.19."""
    return f"{version[0]}.{version[1]}"


def parse_version(text: str) -> Version | None:
    """``"0.19.0"`` as (0, 19); None when it is no version that ql has a schema for."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\w+)*", text)
    version = (int(found[1]), int(found[2])) if found else None
    return version if version in AXOLOTL_VERSIONS else None


def header_of(text: str) -> tuple[Kind | None, Version | None]:
    """What the comments at the top say: a modeline's schema, or ``# ql: axolotl 0.18``."""
    kind: Kind | None = None
    version: Version | None = None
    for line in text.split("\n", HEADER_LINES)[:HEADER_LINES]:
        if found := _MODELINE.match(line):
            name, _, number = found[1].partition("-")
            if name in KINDS:
                kind, version = name, parse_version(number) or version
        elif found := _PRAGMA.match(line):
            kind, version = "axolotl", (int(found[2]), int(found[3]))
        elif _JOB.match(line):
            kind = "job"
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
    return next((kind for kind, marks in _MARKS if marks <= keys), None)
