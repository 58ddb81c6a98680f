"""Here: in this process, in sight of whoever started it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from launcher.places.base import PlaceState, Submission
from launcher.runs.lock import is_locked


@dataclass(frozen=True)
class Here:
    """`submit` returns when the run has ended; what it raises is the run's."""

    name: str = "here"
    summary: str = "in this process, until the run ends"
    grace_seconds: float | None = None

    def submit(self, submission: Submission) -> str:
        assert submission.here is not None, "the work itself, for the place that is here"
        submission.here()
        return str(os.getpid())

    def state(self, folder: Path, handle: str) -> PlaceState:
        return PlaceState("running" if is_locked(folder) else "ended", f"process {handle}")

    def stop(self, folder: Path, handle: str) -> None:
        """Nothing: whoever has it before them stops it, by Ctrl-C."""

    def fetch(self, folder: Path, handle: str) -> None:
        """Nothing: it is here."""


PLACE = Here()
