"""A trainer's config as a file that a person edited: what a launch must know of it beside its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from launcher.errors import Problem
from launcher.rules.base import Config, KeyPath, Version

# What the trainer would do and a launch does not: where the file says so, and the problem without its place.
Refusal = tuple[KeyPath, Problem]


class Named(NamedTuple):
    """A file of rows as a config names it: the value at ``path``. ``trains``: it is trained on, not evaluated with."""

    path: KeyPath
    name: str | None
    trains: bool


class RowFile(NamedTuple):
    """A file of rows that may lie here: the columns that its rows must have, and what asks for them.

    ``local``: it is a file by its name; else it may be a data set of the hub. ``optional`` columns are named by the
    config and may be missing in a row, not in all; ``turns`` are the keys that each turn of the first column must have.
    """

    path: KeyPath
    name: str
    trains: bool
    columns: tuple[str, ...] = ()
    declared: str = ""
    local: bool = True
    optional: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


C = TypeVar("C", bound=Config)


class ConfigFile(ABC, Generic[C]):
    """Reads one trainer's configs. A plain trainer needs to say three things: where the rows, the evaluation rows and
    the chat template are named; the rest is then as here.
    """

    train_key: ClassVar[str]
    eval_key: ClassVar[str]
    template_key: ClassVar[str]  # has the chat template, or its file's name
    folders: ClassVar[tuple[str, ...]] = ("base_model",)  # keys that may name a folder beside the config

    template_hint: ClassVar[str] = "the name of a .jinja file, or null for texts"
    config: ClassVar[type[Config]] = Config  # what its rules are handed
    # Words of other tools for keys of this config that are no settings of a plan; the value keeps its meaning.
    words: ClassVar[Mapping[str, str]] = {}

    def explains(self, key: str) -> bool:
        """Whether a rule of its own speaks of this key, which the schema does not know."""
        return False

    def has_foreign_keys(self, data: Mapping[Any, Any]) -> bool:
        """Whether keys that nobody here knows may be a plugin's."""
        return False

    def as_read(self, data: dict[Any, Any], version: Version) -> dict[Any, Any]:
        """The mapping as that release has it before it looks at any key."""
        return data

    @abstractmethod
    def is_chat(self, c: C) -> bool:
        """Whether the rows are conversations that a chat template turns into text."""

    def is_text(self, c: C) -> bool:
        """Whether the rows are plain texts."""
        return not self.is_chat(c)

    def template_name(self, c: C) -> str | None:
        """The name of a template that the trainer brings or finds itself; None where the config has one."""
        return None

    def asks_otherwise(self, c: C) -> Refusal | None:
        """Why a golden set cannot be asked in the prompts of this config; None where it can."""
        return None

    def refusals(self, c: C) -> Iterator[Refusal]:
        """What the trainer would do and a launch does not."""
        yield from ()

    def evaluates(self, c: C) -> bool:
        """Whether a file of evaluation rows is named."""
        return c.has(self.eval_key)

    def held_out(self, c: C) -> float:
        """Rows that the trainer holds back of the training rows by itself: a share up to 1, else a number."""
        return 0.0

    def files(self, c: C) -> Iterator[Named]:
        """Every file of rows that the config names."""
        for key in (self.train_key, self.eval_key):
            if c.has(key):
                yield Named((key,), c.get(key), key == self.train_key)

    def main_files(self, c: C) -> Iterator[Named]:
        """Those that ``--data`` becomes: what is named where `ql export` names its own files."""
        return self.files(c)

    def rows(self, c: C) -> Iterator[RowFile]:
        """Every file of rows that may lie here, with what its rows must have."""
        for path, name, trains in self.files(c):
            if isinstance(name, str):
                chat = self.is_chat(c)
                yield RowFile(path, name, trains, ("messages",) if chat else ("text",), self.declares(chat))

    def declares(self, chat: bool) -> str:
        """What asks for the columns of a row."""
        return "the chat template" if chat else "texts"

    def templates(self, c: C) -> Iterator[tuple[KeyPath, str]]:
        """Every file that a chat template is read from."""
        if c.get(self.template_key):
            yield (self.template_key,), c.get(self.template_key)
