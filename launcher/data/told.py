"""What reading a row tells beside the row: what is wrong, what is not read, what is masked, what cannot be taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]  # a row of a data file, or a part of one


class BadRow(ValueError):
    """A row that cannot be trained on. ``problems`` are all that is wrong with it, each with its kind."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(message for _, message in self.problems))


@dataclass
class Told:
    """Told of one row.

    ``problems`` make it unusable. ``unread`` names each key that is not read and holds something: of the row itself, or
    with the place it stands in. ``doubts`` are what is read and may not be meant so, each with its kind. ``media``
    names what a text model cannot take. ``masked`` counts assistant turns that the row says not to train; ``thoughts``
    those with a thought; ``silenced`` the thoughts left out because the row turns thinking off.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    media: set[str] = field(default_factory=set)
    doubts: list[tuple[str, str]] = field(default_factory=list)
    masked: int = 0
    thoughts: int = 0
    silenced: int = 0

    def say(self, kind: str, message: str) -> None:
        self.problems.append((kind, message))


def holds(value: Any) -> bool:
    """Whether a value is more than the nothing that a format writes where a key does not apply."""
    return value is not None and value != "" and value != [] and value != {}


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    names = {str: "text", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "null" if value is None else f"a {type(value).__name__}")
