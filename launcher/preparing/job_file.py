"""The job file: what `ql launch FILE` is asked for, as `ql init` writes it and a person edits it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.catalog.check import check
from launcher.configs.kinds import kind_of
from launcher.data.columns import read_columns
from launcher.data.read_as import Thoughts
from launcher.errors import Problem, Unreadable
from launcher.files import program
from launcher.preparing.hub_data import hub_data
from launcher.preparing.names import Names
from launcher.trainers import get_trainer, trainer_names
from launcher.yaml_source import Positions, load_yaml

PATHS = ("data", "golden")


@dataclass(frozen=True)
class JobFile(Names):
    """A launch as a file asks for it. None, and an empty collection: the file does not say."""

    data: Path | None = None
    golden: Path | None = None
    gates: tuple[str, ...] = ()
    allow_overlap: bool = False
    map: dict[str, str] = field(default_factory=dict)
    thoughts: Thoughts | None = None
    settings: dict[str, object] = field(default_factory=dict)
    base_mode: str | None = None
    merge: bool = True
    cap: bool = True
    track: tuple[str, ...] = ()
    trainer_python: str | None = None


def read_job(path: Path) -> JobFile:
    """The job in ``path``; its paths are made relative to the working directory, as a command line's are.

    Raises Unreadable with every problem and its line; for rows, or a trainer's config, with the option that takes them.
    """
    if path.suffix == ".jsonl":
        raise Unreadable(Problem("holds rows; it is no job file", str(path), hint=f"--data {path} trains on them"))
    data, positions = load_yaml(path)
    if not isinstance(data, dict):
        raise Unreadable(Problem("a job is keys and values", str(path)), hint="`ql init` writes one")
    kind = kind_of(data, str(path))
    if kind in trainer_names() and "data" not in data:
        what = f"is a config of {get_trainer(kind).title}; it is no job file"
        raise Unreadable(Problem(what, str(path), hint=f"--config {path} trains it as it is"))
    problems = check(data, "job.json", file=str(path), positions=positions)
    problems += [] if problems else _contradictions(data, path, positions)
    if problems:
        raise Unreadable(problems)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    values["map"] = read_columns(f"{theirs}={ours}" for theirs, ours in values.get("map", {}).items())
    for key in PATHS:
        if key in values:
            beside = path.parent / values[key]
            named = key == "data" and not beside.exists() and hub_data(values[key]) is not None
            values[key] = Path(values[key]) if named else beside
    if "trainer_python" in values:
        values["trainer_python"] = program(values["trainer_python"], path.absolute().parent)
    if str(values.get("model", "")).startswith(("./", "../")):
        values["model"] = str(path.absolute().parent / values["model"])
    return JobFile(**values)


def _contradictions(data: dict[str, Any], path: Path, positions: Positions) -> list[Problem]:
    """What the file says twice, and differently."""
    settings = data.get("settings") or {}
    found = []
    for key in ("method", "backend"):
        if key in data and settings.get(key, data[key]) != data[key]:
            place = positions.value(("settings", key))
            message = f"settings.{key} {settings[key]} and {key} {data[key]} contradict each other"
            found.append(Problem(message, str(path), place.line, place.column, hint="keep one"))
    return found
