"""A golden set: prompts with the answers that are right, as golden rows (schemas/golden.json) or as training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.data.columns import Columns
from launcher.data.formats import BadRow, normalise
from launcher.data.golden import BESIDE, TARGET_KEYS, Repeat, golden_from_training, repeated_prompts
from launcher.data.notes import share
from launcher.data.read import read_lines
from launcher.data.told import holds
from launcher.errors import BadInput, Problem, candidates, did_you_mean

KEYS = ("input", *TARGET_KEYS, "id", "metadata", *BESIDE)
MOST = 20  # problems that are said
NOTED = 3  # repeated prompts that a note names


@dataclass(frozen=True)
class GoldenRow:
    """One prompt and its right answers; ``line`` is where it stands in the file (from 1).

    ``input`` is one user turn, or the text to continue for a model trained on plain text; a list is the turns so far,
    in the form training rows are brought into, with a system text and a history that stand beside it.
    """

    id: str
    input: str | tuple[dict[str, object], ...]
    targets: tuple[str, ...]
    line: int
    tools: tuple[dict[str, object], ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()  # its keys that hold something and are not read

    @property
    def messages(self) -> list[dict[str, object]]:
        """The turns so far."""
        return [{"role": "user", "content": self.input}] if isinstance(self.input, str) else list(self.input)

    def prompt(self, *, conversational: bool) -> dict[str, Any]:
        """What the worker `golden` reads: ``{"id", "messages", "tools"?}``, or ``{"id", "text"}`` for plain text."""
        if not conversational and isinstance(self.input, str):
            return {"id": self.id, "text": self.input}
        return {"id": self.id, "messages": self.messages} | ({"tools": list(self.tools)} if self.tools else {})


def read_golden(
    path: Path, *, conversational: bool = True, columns: Columns | None = None, most: int | None = MOST
) -> list[GoldenRow]:
    """Every row of a golden set, in the order of the file.

    A row may be in a training format: its last answer is the target. ``columns`` are the person's names for ql's.
    ``conversational`` says whether the model was trained on chats: one trained on plain text has no chat template,
    so its prompts must be strings. Raises Unreadable when there is no such file, BadInput with the bad rows and their
    lines, the first ``most`` of them, or when there is no row at all.
    """
    rows: list[GoldenRow] = []
    problems: list[Problem] = []
    refused: list[_Said] = []
    lines_of: dict[str, int] = {}
    seen: set[int] = set()
    found = 0
    for line in read_lines(path, columns):
        found += 1
        # Rows of an array may share a line: then its number names the first of them alone.
        default_id = f"line-{line.number}" if line.number not in seen else f"row-{found}"
        seen.add(line.number)
        if line.row is None:
            problems.append(Problem(str(line.problem), file=str(path), line=line.number))
            continue
        row, said = _row(line.row, line.number, conversational, default_id)
        if row is not None and row.id in lines_of:
            said.append((f"the id {row.id!r} is taken by line {lines_of[row.id]}", None))
        problems += [Problem(message, file=str(path), line=line.number, hint=hint) for message, hint in said]
        refused += [said] if said else []
        if row is not None:
            lines_of.setdefault(row.id, line.number)
            rows.append(row)
    if len(refused) == found > 1 and all(other == refused[0] for other in refused):
        # Another kind of file, such as the training rows: one text, not two thousand.
        raise BadInput(
            [Problem(f"each of its {found:,} rows {what}", str(path), hint=hint) for what, hint in refused[0]]
        )
    if problems:
        more = 0 if most is None else len(problems) - most
        last = [Problem(f"and {more:,} more; `ql validate {path} --all` prints them", str(path))] if more > 0 else []
        raise BadInput([*problems[:most], *last])
    if not found:
        raise BadInput(Problem("holds no row", file=str(path), hint='one a line: {"input": "…", "target": "…"}'))
    return rows


def find_repeats(rows: Sequence[GoldenRow]) -> list[Repeat]:
    """The rows whose prompt an earlier row has too."""
    return repeated_prompts(
        (row.line, {"input": row.messages, "tools": list(row.tools), "target": list(row.targets)}) for row in rows
    )


def repeats_note(rows: Sequence[GoldenRow], path: Path) -> tuple[str, ...]:
    """The repeated prompts as one note for a run, or none."""
    found = find_repeats(rows)
    if not found:
        return ()
    shown = "; ".join(f"line {repeat.line}: {repeat}" for repeat in found[:NOTED])
    more = f"; and {len(found) - NOTED} more, which `ql validate` lists" if len(found) > NOTED else ""
    return (f"{path}: {shown}{more}",)


def golden_notes(rows: Sequence[GoldenRow], path: Path) -> tuple[str, ...]:
    """What is to be known of a golden set before a run."""
    return repeats_note(rows, path) + unread_notes(rows, path)


def unread_notes(rows: Sequence[GoldenRow], path: Path) -> tuple[str, ...]:
    """A note for every key that is not read, with its share of rows."""
    counts = Counter(name for row in rows for name in row.unread)
    return tuple(f"{path}: {name} is given in {share(n, len(rows))} and not read" for name, n in sorted(counts.items()))


_Said = list[tuple[str, str | None]]
A_ROW = 'a row is {"input": "…", "target": "…"}; ideal and expected_output may stand for target'


def _row(raw: dict[str, Any], line: int, conversational: bool, default_id: str) -> tuple[GoldenRow | None, _Said]:
    said: _Said = []
    try:
        from_training = golden_from_training(raw)
    except BadRow as error:
        return None, [(message, A_ROW) for _, message in error.problems]
    if from_training is not None:
        raw, unread = from_training
    else:
        unread = {key for key, value in raw.items() if key not in KEYS and holds(value)}
    value = _input(raw, conversational, said, unread)
    targets = _targets(raw, said)
    name = _id(raw, default_id, said)
    metadata = raw.get("metadata", {})
    if not isinstance(metadata, dict):
        said.append(("metadata must be an object", None))
    if said or value is None:
        return None, said
    messages, tools = value
    return GoldenRow(name, messages, targets, line, tools, metadata, frozenset(unread)), said


def _input(
    raw: dict[str, object], conversational: bool, said: _Said, unread: set[str]
) -> tuple[str | tuple[dict[str, object], ...], tuple[dict[str, object], ...]] | None:
    if "input" not in raw:
        said.append(("has no input", _typo(raw, ("input",))))
        return None
    value = raw["input"]
    if not isinstance(value, str | list):
        said.append(("input must be text or a list of messages", None))
        return None
    if isinstance(value, list) and not conversational:
        said.append(("input is a list of messages", "this model is trained on plain text and has no chat template"))
        return None
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    # The answer to come is not known here; any stands in for it, so that the row is checked as a training row is.
    beside = {key: raw[key] for key in BESIDE if key in raw} if conversational else {}
    unread.update(key for key in BESIDE if key not in beside and holds(raw.get(key)))
    try:
        row, told = normalise({**beside, "messages": [*turns, {"role": "assistant", "content": "answer"}]}, "messages")
        unread.update(told.unread)
    except BadRow as error:
        for kind, message in error.problems:
            about = "input is empty" if isinstance(value, str) and kind == "empty" else message
            said.append((about.replace("messages[", "input["), None))
        return None
    messages = tuple(row["messages"][:-1])
    if not messages:
        said.append(("input is empty", None))
        return None
    if messages[-1]["role"] == "assistant":
        said.append(("input ends with the assistant's turn", "the answer belongs into target"))
        return None
    plain = isinstance(value, str) and len(messages) == 1
    asked = value if isinstance(value, str) and plain else messages
    return asked, tuple(row.get("tools", ()))


def _targets(raw: dict[str, object], said: _Said) -> tuple[str, ...]:
    given = [key for key in TARGET_KEYS if key in raw]
    if not given:
        said.append(("has no target", _typo(raw, TARGET_KEYS)))
        return ()
    if len(given) > 1:
        said.append((f"has {' and '.join(given)}, which mean the same", "keep target"))
        return ()
    value = raw[given[0]]
    targets = [value] if isinstance(value, str) else value
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        said.append((f"{given[0]} must be text or a list of texts", "write numbers in quotes"))
        return ()
    if not targets or not all(target.strip() for target in targets):
        said.append((f"{given[0]} is empty", None))
        return ()
    try:
        "".join(targets).encode("utf-8")
    except UnicodeEncodeError:
        said.append((f"{given[0]} holds half a surrogate pair (\\ud800 to \\udfff), which is no character", None))
    return tuple(targets)


def _id(raw: dict[str, object], default: str, said: _Said) -> str:
    value = raw.get("id", default)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        said.append(("id must be text or a whole number", None))
    elif not str(value).isprintable():
        said.append(("id holds a character that cannot be printed", None))
    return str(value)


def _typo(raw: dict[str, object], wanted: tuple[str, ...]) -> str:
    """A hint for a missing key: the key that may have been meant, else what a row looks like."""
    unknown = [key for key in raw if key not in KEYS]
    for key in unknown:
        if candidates(key, wanted):
            return f"{key!r} is not read: {did_you_mean(key, wanted)}"
    return A_ROW
