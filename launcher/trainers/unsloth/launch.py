"""Unsloth: the exported train.py, unmodified, under a wrapper that registers the telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.trainers.launch import EFFECTIVE, Launch, Overlay, write_effective
from launcher.trainers.tracking import tracking


class UnslothLaunch(Launch):
    """Unsloth's generated code stays inside the run."""

    name = "unsloth"

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, Any],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        tracked = tracking(track, folder)
        added = {**changes, **tracked.unsloth}
        environment = {"UNSLOTH_COMPILE_LOCATION": str(folder / "trainer" / "unsloth_code"), **tracked.environment}
        if added:
            write_effective(folder, added, "train.py")
        config = EFFECTIVE if added else "config.yaml"
        command = [python, str(self.inject[-1] / "ql_unsloth.py"), "train.py", config]
        if checkpoint is not None:
            command += ["--resume", checkpoint]
        return Overlay(added, environment, command)

    def keys_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)  # our own schema: its keys are the plan's


LAUNCH = UnslothLaunch()
