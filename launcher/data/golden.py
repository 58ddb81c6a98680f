"""Golden prompts that training rows ask too, where a score would measure memory, and those that stand twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.data.columns import Columns
from launcher.data.content import without_thought
from launcher.data.formats import BadRow, Row, format_of, normalise
from launcher.data.near import GoldenQuestion, Near, NearQuestions, shown
from launcher.data.read import read_lines

TARGET_KEYS = ("target", "ideal", "expected_output")  # three names of the same thing
BESIDE = ("tools", "functions", "system", "system_prompt", "history")  # read as they are beside the turns of a row


@dataclass(frozen=True)
class Overlap:
    """A golden row, at ``line``, that a training row asks too; ``near`` where it is not the very same question."""

    line: int
    near: Near | None = None

    def __str__(self) -> str:
        if self.near is None:
            return f"asks what line {self.line} of the golden set"
        near = self.near
        pair = shown((near.question, near.golden.question))
        return f"asks nearly ({near.alike:.0%} alike, the same answer: {pair}) what line {self.line} of the golden set"


class GoldenInputs:
    """The questions of a golden set: what the user said, up to each user turn, compared without case and spacing.

    Where the library is installed those are found, too, that are nearly asked.
    """

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        """Rows that are no golden rows are passed over: the golden set's own reader reports them.

        ``columns`` are the person's names for ql's. Raises Unreadable when there is no such file.
        """
        self.path = path
        self._lines: dict[bytes, int] = {}
        questions: list[GoldenQuestion] = []
        for line in read_lines(path, columns):
            found = _asked_by_golden(line.row) if line.row is not None else None
            if found:
                asked, answers = found
                self._lines.setdefault(_key(asked), line.number)
                questions.append(GoldenQuestion(line.number, "\n".join(asked), answers))
        self._near = NearQuestions(questions)

    @property
    def note(self) -> str | None:
        """What was not looked for, if anything."""
        return self._near.note

    def overlap(self, row: Mapping[str, Any]) -> Overlap | None:
        """The golden row that a normalised training row asks too, or nearly; None where it asks none."""
        same = next((self._lines[key] for key in _keys(row) if key in self._lines), None)
        if same is not None:
            return Overlap(same)
        near = next(
            (found for pair in questions_and_answers(row) if (found := self._near.find(*pair)) is not None), None
        )
        return None if near is None else Overlap(near.golden.line, near)


@dataclass(frozen=True)
class Repeat:
    """A golden row, at ``line``, whose prompt is that of the row at ``first``; ``same``: with the same targets."""

    line: int
    first: int
    same: bool

    def __str__(self) -> str:
        if self.same:
            return f"the same prompt and target as line {self.first}: it counts twice"
        return f"the same prompt as line {self.first} with another target: what is right in one is wrong in the other"


def repeated_prompts(rows: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Repeat]:
    """The golden rows, given with their lines, that ask exactly what a row before them asks."""
    first: dict[str, tuple[int, set[str]]] = {}
    found = []
    for line, row in rows:
        given = row.get("input")
        turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
        asked = json.dumps([turns, row.get("tools") or []], sort_keys=True)
        value: str | list[str] = next((row[key] for key in TARGET_KEYS if key in row), [])
        targets = {value} if isinstance(value, str) else set(value)
        before, wanted = first.setdefault(asked, (line, targets))
        if before != line:
            found.append(Repeat(line, before, targets == wanted))
    return found


def golden_from_training(row: Mapping[str, Any]) -> tuple[Row, set[str]] | None:
    """A row in a training format as a golden row, and its keys that are not read.

    Its last answer is the target, what stands before it the input. None for a row that is in no such format, or is a
    golden row already. Raises BadRow with what is wrong with it.
    """
    form = format_of(row)
    if form is None or row.keys() & set(TARGET_KEYS):
        return None
    if form == "text":
        raise BadRow([("format", "is a row of plain text, which has no answer that could be the target")])
    normal, told = normalise(row, form)
    messages = [{k: v for k, v in message.items() if k != "training"} for message in normal["messages"]]
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    answer = without_thought(messages[last]["content"])
    if not answer.strip():
        raise BadRow([("target", "its last answer is a call of a tool, and no text that could be the target")])
    before = [{k: v for k, v in message.items() if k != "reasoning_content"} for message in messages[:last]]
    if not before:
        raise BadRow([("input", "nothing is asked before its last answer")])
    alone = len(before) == 1 and before[0]["role"] == "user"
    kept = {key: row[key] for key in ("id", "metadata") if key in row}
    kept |= {"tools": normal["tools"]} if "tools" in normal else {}
    golden = {**kept, "input": before[0]["content"] if alone else before, "target": answer.strip()}
    return golden, told.unread - kept.keys()


def _asked_by_golden(row: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...]] | None:
    """What a golden row's user said, turn by turn, and its right answers."""
    try:
        found = golden_from_training(row)
        row = found[0] if found is not None else row
    except BadRow:
        return None
    given = row.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list):
        return None
    try:  # an answer behind it, so that the reader of training rows takes it
        beside = {key: row[key] for key in BESIDE if key in row}
        normal, _ = normalise({**beside, "messages": [*given, {"role": "assistant", "content": "."}]}, "messages")
    except BadRow:
        return None
    value = next((row[key] for key in TARGET_KEYS if key in row), ())
    given = value if isinstance(value, list | tuple) else [value]
    answers = tuple(one for one in given if isinstance(one, str))
    return [message["content"] for message in normal["messages"] if message["role"] == "user"], answers


def questions_and_answers(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the user said up to each answer of a conversation, and that answer."""
    asked: list[str] = []
    for message in row.get("messages", ()):
        if message["role"] == "user":
            asked.append(message["content"])
        elif message["role"] == "assistant" and asked:
            yield "\n".join(asked), without_thought(message["content"])


def _keys(row: Mapping[str, Any]) -> Iterator[bytes]:
    if "text" in row:
        yield _key([row["text"]])
        return
    asked: list[str] = []
    for message in row["messages"]:
        if message["role"] == "user":
            asked.append(message["content"])
            yield _key(asked)


def _key(asked: Sequence[str]) -> bytes:
    plain = "\0".join(" ".join(text.split()).casefold() for text in asked)
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()
