"""What a run says while it goes: the stages tell an observer, and the command line decides how it looks."""

from __future__ import annotations

from typing import Protocol

from launcher.records.events import Event, Message
from launcher.records.run import Repair


class Observer(Protocol):
    """Hears everything that a person may want to see, in the order in which it happens."""

    def stage(self, name: str, state: str, note: str = "") -> None:
        """A stage began or ended; ``state`` is a stage state of the manifest."""

    def telemetry(self, event: Event) -> None:
        """One record of events.jsonl, as the trainer wrote it."""

    def progress(self, stage: str, message: Message) -> None:
        """A worker's progress message, such as ``{"done": 3, "total": 24}``."""

    def warning(self, text: str) -> None:
        """Something that may be wrong with what was given."""

    def note(self, text: str) -> None:
        """Something a person should know, such as a cap or a fallback."""

    def repair(self, record: Repair) -> None:
        """The launcher mended something by itself: one record of the manifest's ``repairs``."""


class Silent:
    """An observer for tests and for scripts."""

    def stage(self, name: str, state: str, note: str = "") -> None: ...

    def telemetry(self, event: Event) -> None: ...

    def progress(self, stage: str, message: Message) -> None: ...

    def warning(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def repair(self, record: Repair) -> None: ...
