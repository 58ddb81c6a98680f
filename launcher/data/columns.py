"""Columns of a person's own names: ``--map question=prompt,answer=completion``, and what to propose where none fits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from launcher.data.told import Row
from launcher.errors import Problem, Unreadable, did_you_mean

Columns = Mapping[str, str]  # the file's name -> ql's

KNOWN = (
    "messages", "conversations", "instruction", "input", "context", "output", "prompt", "completion", "text",
    "system", "tools", "history", "reasoning_content",
)  # fmt: skip

# What people call the columns of a format; the first that a row has is proposed.
_QUESTION = (
    "question", "query", "prompt", "user", "user_input", "human", "input", "request", "problem", "source", "ask",
    "instruction", "user_message", "task",
)  # fmt: skip
_ANSWER = (
    "answer", "response", "completion", "reply", "output", "assistant", "bot", "chosen", "solution", "target", "label",
    "answers", "assistant_message", "output_text", "gpt", "model", "result", "category", "class", "intent",
)  # fmt: skip
_TURNS = ("conversation", "dialogue", "dialog", "chat", "turns", "dialogs", "message", "chosen")
_TEXT = ("content", "body", "document", "article", "story", "code", "raw", "raw_text", "page")


def read_columns(pairs: Iterable[str]) -> dict[str, str]:
    """The columns that ``--map`` names, from texts such as ``a=prompt,b=completion``. Raises Unreadable."""
    columns: dict[str, str] = {}
    problems: list[Problem] = []
    for pair in (part for text in pairs for part in text.split(",")):
        theirs, sign, ours = (part.strip() for part in pair.rpartition("="))
        if not sign or not theirs or not ours:
            problems.append(
                Problem(f"--map {pair.strip()!r}: is not COLUMN=NAME", hint="question=prompt,answer=completion")
            )
        elif ours not in KNOWN:
            problems.append(Problem(f"--map {theirs}={ours}: there is no {ours!r}", hint=did_you_mean(ours, KNOWN)))
        elif theirs in columns or ours in columns.values():
            twice = theirs if theirs in columns else ours
            problems.append(Problem(f"--map {theirs}={ours}: {twice!r} is named twice", hint="name each column once"))
        else:
            columns[theirs] = ours
    if problems:
        raise Unreadable(problems)
    return columns


def renamed(row: Mapping[str, Any], columns: Columns) -> Row:
    """A row with ql's names. A column of the row that has such a name already gives way, and is told as not read."""
    if not columns:
        return dict(row)
    found = {ours: row[theirs] for theirs, ours in columns.items() if theirs in row}
    others = {key: value for key, value in row.items() if key not in columns}
    return {**{f"{key} (of the file)" if key in found else key: value for key, value in others.items()}, **found}


def propose(row: Mapping[str, object]) -> str | None:
    """The ``--map`` that would read a row of no known format, where its keys tell what they mean."""
    keys = {key.strip().casefold().replace(" ", "_").replace("-", "_"): key for key in row}
    lists = {name for name, key in keys.items() if isinstance(row[key], list)}
    turns = next((keys[name] for name in _TURNS if name in lists), None)
    if turns is not None:
        return f"--map {_shell(turns)}=messages"
    question = next((keys[name] for name in _QUESTION if name in keys), None)
    answer = next((keys[name] for name in _ANSWER if name in keys and keys[name] != question), None)
    if question is not None and answer is not None:
        beside = {"context", "input"} & (keys.keys() - {question, answer})  # what is read beside an instruction alone
        names = ("instruction", "output") if beside else ("prompt", "completion")
        pairs = list(zip((question, answer), names, strict=True))
        return "--map " + ",".join(f"{_shell(theirs)}={ours}" for theirs, ours in pairs if theirs != ours)
    text = next((keys[name] for name in _TEXT if name in keys and isinstance(row[keys[name]], str)), None)
    return f"--map {_shell(text)}=text" if text is not None and answer is None else None


def answer_column(name: str) -> bool:
    """Whether a column's name is one that people give the answers, or the labels, of a text."""
    return name.strip().casefold() in _ANSWER


def _shell(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else f"'{name}'"


def shown_keys(row: Mapping[str, object]) -> str:
    """The keys of a row for a message: the first of them, in order."""
    return ", ".join(json.dumps(key, ensure_ascii=False) for key in sorted(row)[:6])[:120] or "none"
