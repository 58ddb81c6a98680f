"""As a process: the exported train.py, unmodified, under a wrapper that registers the telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.trainers.launch import EFFECTIVE, Launch, Overlay, write_effective
from launcher.trainers.plain.codec import CODEC
from launcher.trainers.tracking import tracking


class PlainLaunch(Launch):
    name = "plain"
    codec = CODEC

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, Any],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        write_effective(folder, changes, "train.py")
        resume = ["--resume", checkpoint] if checkpoint is not None else []
        command = [python, str(self.inject[-1] / "ql_plain.py"), "train.py", EFFECTIVE, *resume]
        return Overlay(dict(changes), dict(tracking((), folder).environment), command)


LAUNCH = PlainLaunch()
