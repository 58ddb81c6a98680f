"""Detached: on this machine, in a process that does not end with this one or its terminal."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.places.base import PlaceState, Submission
from launcher.runs.detach import start_detached
from launcher.runs.lock import holder, is_locked


@dataclass(frozen=True)
class Detached:
    """A handle is ``HOST:PID``; that the process is still this run's is known from the run's lock."""

    name: str = "detached"
    summary: str = "in the background of this machine; `ql runs RUN --follow` shows how it goes"
    grace_seconds: float | None = None

    def submit(self, submission: Submission) -> str:
        return f"{socket.gethostname()}:{start_detached(submission.folder, submission.command)}"

    def state(self, folder: Path, handle: str) -> PlaceState:
        host, _, pid = handle.rpartition(":")
        words = f"process {pid} on {host}"
        if host != socket.gethostname():
            return PlaceState("gone", f"{words}, which is not this machine")
        return PlaceState("running" if is_locked(folder) and self._holds(folder, pid) else "ended", words)

    def stop(self, folder: Path, handle: str) -> None:
        pid = handle.rpartition(":")[2]
        if self.state(folder, handle).kind == "running":
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)

    def fetch(self, folder: Path, handle: str) -> None:
        """Nothing: the folder is on this machine."""

    @staticmethod
    def _holds(folder: Path, pid: str) -> bool:
        return str(holder(folder).get("pid")) == pid


PLACE = Detached()
