"""A backend whose trainer is a few lines of Python: what supervises a trainer is tested on it, without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.trainers.launch import Launch, Overlay

# What every such trainer begins with: `say` writes an event, as the callback in a real trainer does.
SAY = """
import json, os, signal, sys, time
stream = open(os.environ["QL_EVENTS"], "a")
def say(event, **values):
    stream.write(json.dumps({"event": event, **values}) + "\\n")
    stream.flush()
"""


class Script(Launch):
    """Runs ``body`` after `SAY`; ``config`` and ``environment`` are what its overlay adds to the trainer's."""

    name = "script"

    def __init__(
        self, body: str, *, config: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.body = body
        self.config = dict(config or {})
        self.environment = dict(environment or {})
        self.started: list[tuple[dict[str, Any], str]] = []  # the changes and the checkpoint of each start

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, Any],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        self.started.append((dict(changes), checkpoint or ""))
        command = [python, "-c", SAY + self.body, *self.arguments(changes, checkpoint or "")]
        return Overlay(self.config, self.environment, command)

    def arguments(self, changes: Mapping[str, Any], checkpoint: str) -> list[str]:
        """What the script finds in ``sys.argv[1:]``."""
        return []

    def keys_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)
