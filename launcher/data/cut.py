"""A golden set cut out of a data file: as varied as the file, and nothing of it among the rows left to train on."""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.data.columns import Columns
from launcher.data.content import without_thought
from launcher.data.golden import questions_and_answers
from launcher.data.inspect import inspect_data
from launcher.data.near import GoldenQuestion, NearQuestions
from launcher.data.read import read_lines
from launcher.data.report import DataReport
from launcher.errors import BadInput, Problem, did_you_mean
from launcher.files import replacing

LABELS = ("label", "category", "class", "intent", "topic", "queue", "type", "domain", "source", "language")
MOST_LABELS = 50  # different ones: what has more is no label
ANSWER = "the answer"


@dataclass(frozen=True)
class Cut:
    """Which lines go where. ``label`` names what the golden set is stratified by; None: nothing is one.

    ``left_out`` ask what a golden row asks, and are in neither file.
    """

    golden: frozenset[int]
    left_out: frozenset[int]
    rows: int
    label: str | None
    shares: tuple[tuple[str, int], ...]


def plan_cut(path: Path, count: int, *, seed: int = 0, columns: Columns | None = None, label: str | None = None) -> Cut:
    """Choose ``count`` rows for a golden set, the same ones for the same file and seed.

    Rows that ask the same, but for case, spacing and punctuation, are never on both sides: one of them is taken and the
    others left out. Raises BadInput for bad rows, and where the file has too few different questions.
    """
    report = inspect_data(path, columns=columns)
    report.require_rows()
    if report.format == "text":
        raise BadInput(f"{path}: rows of plain text have no answer that a golden set could ask for")
    rows = _Rows(report, columns or {}, label)
    groups = rows.groups()
    if count >= len(groups):
        message = f"{path}: has {len(groups):,} different questions, of which {count:,} cannot be cut out"
        raise BadInput(message, hint="fewer: some must be left to train on")
    name, labels = rows.labels()
    chosen = _choose(groups, labels, count, random.Random(seed))
    golden = {group[0] for group in chosen}
    shares = Counter(rows.words.get(labels[group[0]], "") for group in chosen) if name else Counter[str]()
    left_out = {index for group in chosen for index in group[1:]} | _nearly_asked(report, golden)
    return Cut(frozenset(golden), frozenset(left_out), len(rows), name, tuple(shares.most_common()))


def _nearly_asked(report: DataReport, golden: Set[int]) -> set[int]:
    """The other rows that ask nearly what a golden one asks, where the library that finds them is installed."""
    assert report.reading is not None
    pairs = [(index, list(questions_and_answers(row))) for index, (_, row) in enumerate(report.reading.rows())]
    last = {index: found[-1] for index, found in pairs if index in golden and found}
    near = NearQuestions(GoldenQuestion(index, question, (answer,)) for index, (question, answer) in last.items())
    return {
        index for index, found in pairs if index not in golden and any(near.find(*pair) is not None for pair in found)
    }


def write_cut(path: Path, cut: Cut, golden: Path, train: Path, columns: Columns | None = None) -> None:
    """Write both files, one row a line in the format of the file; each is whole or absent."""
    with ExitStack() as stack:
        to_golden, to_train = (stack.enter_context(replacing(target)) for target in (golden, train))
        for index, row in enumerate(_rows_of(path, columns)):
            if index in cut.left_out:
                continue
            text = json.dumps(row, ensure_ascii=False, default=str) + "\n"
            (to_golden if index in cut.golden else to_train).write(text)


class _Rows:
    """What is kept of each row, by its index: what it asks, and what may be its label."""

    def __init__(self, report: DataReport, columns: Columns, label: str | None) -> None:
        self.words: dict[int, str] = {}  # the texts of labels, by digest
        self._asked: dict[int, int] = {}  # digest of a question -> the first row that asks it
        self._parents = array("Q")
        self._wanted = label
        self._columns: dict[str, array[int]] = {}
        names = (label,) if label else LABELS
        assert report.reading is not None
        keys: set[str] = set()
        # No row is unusable, or it would have been refused: each is read here as it is and as it is trained.
        for index, (raw, (_, row)) in enumerate(
            zip(_rows_of(report.path, columns), report.reading.rows(), strict=True)
        ):
            self._parents.append(index)
            for digest in _questions(row):
                self._join(index, self._asked.setdefault(digest, index))
            keys |= raw.keys()
            answer = next((turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "assistant"), "")
            values = {ANSWER: without_thought(answer).strip(), **{name: raw.get(name) for name in names}}
            for name, value in values.items():
                self._columns.setdefault(name, array("Q")).append(self._digest(value))
        if label and label not in keys:
            hint = did_you_mean(label, sorted(keys))
            raise BadInput(Problem(f"has no column {label!r}", str(report.path), hint=hint))

    def __len__(self) -> int:
        return len(self._parents)

    def _digest(self, value: Any) -> int:
        if value is None or value == "":
            return 0
        text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
        digest = _digest(text)
        if len(self.words) < 100 * MOST_LABELS:
            self.words.setdefault(digest, " ".join(text.split())[:40])
        return digest

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def groups(self) -> list[list[int]]:
        """The rows that must not be parted, by what they ask."""
        found: dict[int, list[int]] = {}
        for index in range(len(self)):
            found.setdefault(self._root(index), []).append(index)
        return list(found.values())

    def labels(self) -> tuple[str | None, Sequence[int]]:
        """The column that holds a label, and each row's; where none does, the answer if it is one of a few."""
        names = [self._wanted] if self._wanted else [*LABELS, ANSWER]
        for name in names:
            digests = self._columns[name]
            different = len(set(digests))
            few = 2 <= different <= MOST_LABELS and different * 3 <= len(digests)
            if self._wanted or (few and 0 not in digests):
                return name, digests
        return None, array("Q", bytes(8 * len(self)))


def _rows_of(path: Path, columns: Columns | None) -> Iterator[Mapping[str, Any]]:
    """The rows as they are in the file. Those of an array may share a line: their order alone tells them apart."""
    return (line.row for line in read_lines(path, columns) if line.row is not None)


def _questions(row: Mapping[str, Any]) -> Iterator[int]:
    """Digests of what the user says up to each turn, without case, spacing and punctuation."""
    asked = ""
    for turn in row["messages"]:
        if turn["role"] == "user":
            folded = turn["content"].casefold()
            asked += "\0" + ("".join(char for char in folded if char.isalnum()) or folded)
            yield _digest(asked)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _choose(
    groups: Sequence[Sequence[int]], labels: Sequence[int], count: int, chance: random.Random
) -> list[Sequence[int]]:
    """As many groups of each label as its share asks for, those of one row first: nothing is left out for them."""
    strata: dict[int, list[Sequence[int]]] = {}
    for group in groups:
        strata.setdefault(labels[group[0]], []).append(group)
    shares = {label: count * len(found) / len(groups) for label, found in strata.items()}
    wanted = {label: min(int(share), len(strata[label])) for label, share in shares.items()}
    rest = sorted(strata, key=lambda label: (wanted[label] > 0, wanted[label] - shares[label], label))
    while sum(wanted.values()) < count:
        for label in rest:
            if sum(wanted.values()) < count and wanted[label] < len(strata[label]):
                wanted[label] += 1
    chosen: list[Sequence[int]] = []
    for label, found in strata.items():
        order = sorted(found, key=lambda group: (len(group) > 1, chance.random()))
        chosen += order[: wanted[label]]
    return chosen
