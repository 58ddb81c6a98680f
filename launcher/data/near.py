"""Questions that are nearly the same: found by MinHash in an index of the golden ones, then compared word by word."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# Of the words and pairs of words of two texts, the share that both have: one word in ten may differ.
ALIKE = 0.7
# 32 bands of 4: a pair that is alike enough is a candidate in 9,998 of 10,000 cases (1 - (1 - 0.7^4)^32).
_PERMUTATIONS, _BANDS, _SEED = 128, 32, 42
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+")  # a character is a word where none are parted
COMMON, COMMON_ROWS = 0.2, 3  # a part of more than this share of the questions, and of more than so many, is common
FEWEST_WORDS = 4  # of shorter questions two that differ in a word are two questions


@dataclass(frozen=True)
class GoldenQuestion:
    """One golden question with its right answers, and the line that it stands on."""

    line: int
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """A golden question that is nearly a row's, and how alike they are, from 0 to 1."""

    golden: GoldenQuestion
    question: str
    alike: float


class NearQuestions:
    """An index of golden questions. A row is near one where the answers are alike too: else it is another question."""

    def __init__(self, asked: Iterable[GoldenQuestion]) -> None:
        self.asked = [one for one in asked if len(_words(one.question)) >= FEWEST_WORDS]
        whole = [_parts(one.question) for one in self.asked]
        counts = Counter(part for parts in whole for part in parts)
        often = max(COMMON_ROWS, COMMON * len(whole))
        # What many questions have is the wording around them, such as an instruction: it makes no two of them alike.
        self._common = frozenset(part for part, count in counts.items() if count > often)
        self._parts = [parts - self._common for parts in whole]
        answers = [_words(answer) for one in self.asked for answer in one.answers]
        self._short = frozenset(tuple(words) for words in answers if len(words) < FEWEST_WORDS)
        self._any_long = any(len(words) >= FEWEST_WORDS for words in answers)
        self._library = _library() if self.asked else None
        self._index: Any = None
        if self._library is not None and self.asked:
            self._index = self._library.RMinHashLSH(ALIKE, _PERMUTATIONS, _BANDS)
            for number, parts in enumerate(self._parts):
                if parts:
                    self._index.insert(number, self._hashed(parts))

    @property
    def note(self) -> str | None:
        """That nobody looked, where the library is missing."""
        if self._library is not None or not self.asked:
            return None
        return (
            "rows that ask nearly what the golden set asks were not looked for: pip install rensa, of ql's extra golden"
        )

    def find(self, question: str, answer: str) -> Near | None:
        """The golden question that is most like this one, where its answer is alike, too."""
        if self._index is None or len(_words(question)) < FEWEST_WORDS:
            return None
        words = tuple(_words(answer))  # looked at first: it costs least, and most rows have another answer
        if words not in self._short if len(words) < FEWEST_WORDS else not self._any_long:
            return None
        parts = _parts(question) - self._common
        if not parts:
            return None
        found: list[Near] = []
        for number in self._index.query(self._hashed(parts)):
            golden, alike = self.asked[number], _jaccard(parts, self._parts[number])
            if alike >= ALIKE and any(_same_answer(answer, right) for right in golden.answers):
                found.append(Near(golden, question, alike))
        return max(found, key=lambda near: (near.alike, -near.golden.line), default=None)

    def _hashed(self, parts: frozenset[str]) -> Any:
        assert self._library is not None
        hashed = self._library.RMinHash(_PERMUTATIONS, _SEED)
        hashed.update(sorted(parts))
        return hashed


def _library() -> Any:
    try:
        return importlib.import_module("rensa")
    except ImportError:
        return None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _parts(text: str) -> frozenset[str]:
    words = _words(text)
    return frozenset([*words, *(f"{one} {other}" for one, other in pairwise(words))])


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


def _same_answer(one: str, other: str) -> bool:
    first, second = _words(one), _words(other)
    if not first or not second or len(first) < FEWEST_WORDS or len(second) < FEWEST_WORDS:
        return first == second and (bool(first) or one.split() == other.split())
    return _jaccard(_parts(one), _parts(other)) >= ALIKE


def shown(texts: Sequence[str], most: int = 60) -> str:
    """Questions for a message, on one line each."""
    return " / ".join(f'"{text[: most - 1]}…"' if len(text) > most else f'"{text}"' for text in map(_line, texts))


def _line(text: str) -> str:
    return " ".join(text.split())
