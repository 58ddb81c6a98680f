"""What a run says while it goes: the stages tell an observer, and the command line decides how it looks."""

from __future__ import annotations

from typing import Any, Protocol


class Observer(Protocol):
    """Hears everything that a person may want to see, in the order in which it happens."""

    def stage(self, name: str, state: str, note: str = "") -> None:
        """A stage began or ended; ``state`` is a stage state of the manifest."""

    def telemetry(self, event: dict[str, Any]) -> None:
        """One record of events.jsonl, as the trainer wrote it."""

    def progress(self, stage: str, message: dict[str, Any]) -> None:
        """A worker's progress message, such as ``{"done": 3, "total": 24}``."""

    def note(self, text: str) -> None:
        """Something a person should know, such as a cap or a fallback."""

    def repair(self, record: dict[str, Any]) -> None:
        """The launcher mended something by itself: one record of the manifest's ``repairs``."""


class Silent:
    """An observer for tests and for scripts."""

    def stage(self, name: str, state: str, note: str = "") -> None: ...

    def telemetry(self, event: dict[str, Any]) -> None: ...

    def progress(self, stage: str, message: dict[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def repair(self, record: dict[str, Any]) -> None: ...
