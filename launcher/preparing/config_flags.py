"""Flags beside an edited config: one may agree with the file; one that contradicts it is an error with the line."""

from __future__ import annotations

from typing import Any

from launcher.catalog import load_model, resolve_base
from launcher.data.write import EVAL_FILE, TRAIN_FILE
from launcher.errors import Problem
from launcher.planning.request import AUTO
from launcher.preparing.asked import Asked
from launcher.preparing.config_file import Edited, Template
from launcher.rules.base import KeyPath
from launcher.trainers.readback import ReadBack

_FLAGS = {"compute_dtype": "--compute-dtype", "max_steps": "--max-steps", "keep": "--keep", "method": "--method"}
_HINT = "leave the flag out, or edit the file"


def contradictions(edited: Edited, found: ReadBack, template: Template | None, asked: Asked) -> list[Problem]:
    """Flags that say something else than the file, each with the line that it contradicts."""
    problems = []
    wanted = dict(asked.settings)
    wanted |= {key: value for key, value in (("backend", asked.backend), ("method", asked.method)) if value}
    raw = asked.data is not None
    for setting, value in wanted.items():
        if raw and setting == "eval_fraction" and _is_file(edited, found.places.get(setting)):
            continue  # how the file of --data is split: the config only has the result
        if raw and setting == "chat_template" and template is not None and template.text is None:
            continue  # the config names the file that this run will have
        if not _same(found.values[setting], value):
            problems.append(_conflict(edited, found, setting, value))
    if asked.model is not None and resolve_base(load_model(asked.model)) != edited.base_model:
        message = f"base_model is {edited.config.base_model} here, and --model says {asked.model}"
        problems.append(edited.problem("base_model", message, _HINT))
    if raw:
        problems += _data_conflicts(edited)
    return problems


def _is_file(edited: Edited, place: KeyPath | None) -> bool:
    """Whether the held-out rows are a file of their own, not taken from the training rows by the trainer."""
    return place is None or place[0] == edited.reader.eval_key


def _conflict(edited: Edited, found: ReadBack, setting: str, value: Any) -> Problem:
    flag = _FLAGS.get(setting, f"--set {setting}")
    here = found.values[setting]
    shown = ", ".join(here) if isinstance(here, tuple) else "none" if here is None else here
    if setting == "method" and value == AUTO:
        return edited.problem("adapter", f"the file has chosen {here}, and --method auto would choose", _HINT)
    if setting == "backend":
        return Problem(f"this is a config of {here}, and --backend says {value}", file=edited.name, hint=_HINT)
    if setting not in found.places:
        message = f"the file does not set {setting} ({found.decisions[setting].why}: {shown}), and {flag} says {value}"
        return Problem(message, file=edited.name, hint=_HINT)
    return edited.problem(found.places[setting], f"{setting} is {shown} here, and {flag} says {value}", _HINT)


def _same(here: Any, asked: Any) -> bool:
    if isinstance(here, tuple):
        return list(here) == list(asked) if isinstance(asked, list | tuple) else False
    return bool(here == asked)


def _data_conflicts(edited: Edited) -> list[Problem]:
    """``--data`` becomes data/train.jsonl and data/eval.jsonl: a config that reads other files contradicts it."""
    targets = {True: TRAIN_FILE, False: EVAL_FILE}
    return [
        edited.problem(path, f"trains on {name} here, and --data becomes {targets[trains]}", _HINT)
        for path, name, trains in edited.reader.main_files(edited.config)
        if name != targets[trains]
    ]
