"""A trainer's config as a file that a person edited: what a launch must know of it beside its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from launcher.errors import Problem
from launcher.rules.base import Config, KeyPath

# What the trainer would do and a launch does not: where the file says so, and the problem without its place.
Refusal = tuple[KeyPath, Problem]


class Named(NamedTuple):
    """A file of rows as a config names it: the value at ``path``. ``trains``: it is trained on, not evaluated with."""

    path: KeyPath
    name: str | None
    trains: bool


class ConfigFile(ABC):
    """Reads one trainer's configs. A plain trainer needs to say three things: where the rows, the evaluation rows and
    the chat template are named; the rest is then as here.
    """

    train_key: ClassVar[str]
    eval_key: ClassVar[str]
    template_key: ClassVar[str]  # has the chat template, or its file's name
    folders: ClassVar[tuple[str, ...]] = ("base_model",)  # keys that may name a folder beside the config

    @abstractmethod
    def is_chat(self, c: Config) -> bool:
        """Whether the rows are conversations that a chat template turns into text."""

    def is_text(self, c: Config) -> bool:
        """Whether the rows are plain texts."""
        return not self.is_chat(c)

    def template_name(self, c: Config) -> str | None:
        """The name of a template that the trainer brings or finds itself; None where the config has one."""
        return None

    def asks_otherwise(self, c: Config) -> Refusal | None:
        """Why a golden set cannot be asked in the prompts of this config; None where it can."""
        return None

    def refusals(self, c: Config) -> Iterator[Refusal]:
        """What the trainer would do and a launch does not."""
        yield from ()

    def evaluates(self, c: Config) -> bool:
        """Whether a file of evaluation rows is named."""
        return c.has(self.eval_key)

    def held_out(self, c: Config) -> float:
        """Rows that the trainer holds back of the training rows by itself: a share up to 1, else a number."""
        return 0.0

    def files(self, c: Config) -> Iterator[Named]:
        """Every file of rows that the config names."""
        for key in (self.train_key, self.eval_key):
            if c.has(key):
                yield Named((key,), c.get(key), key == self.train_key)

    def main_files(self, c: Config) -> Iterator[Named]:
        """Those that ``--data`` becomes: what is named where `ql export` names its own files."""
        return self.files(c)
