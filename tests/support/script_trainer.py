"""A backend whose trainer does what a scenario says: what supervises a trainer is tested on it, without one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scenario import Scenario

from launcher.trainers.launch import Launch, Overlay

FAKE_TRAINER = Path(__file__).with_name("fake_trainer.py")


class Script(Launch):
    """Plays ``scenario``; ``config`` and ``environment`` are what its overlay adds to the trainer's."""

    name = "script"

    def __init__(
        self,
        scenario: Scenario,
        *,
        config: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.scenario = scenario
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
        command = [python, str(FAKE_TRAINER), self.scenario.to_json(), json.dumps(dict(changes)), checkpoint or ""]
        return Overlay(self.config, self.environment, command)

    def keys_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)
