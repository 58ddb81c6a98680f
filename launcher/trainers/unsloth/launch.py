"""Unsloth as a process: the exported train.py, unmodified, under a wrapper that registers the telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.trainers.launch import EFFECTIVE, Launch, Overlay, write_effective
from launcher.trainers.tracking import PROJECT, Tracking, tracking
from launcher.trainers.unsloth.codec import CODEC


class UnslothLaunch(Launch):
    """Unsloth's generated code stays inside the run."""

    name = "unsloth"
    codec = CODEC

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, object],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        tracked = tracking(track, folder)
        added = {**changes, **tracker_keys(tracked)}
        environment = {"UNSLOTH_COMPILE_LOCATION": str(folder / "trainer" / "unsloth_code"), **tracked.environment}
        if added:
            write_effective(folder, added, "train.py")
        config = EFFECTIVE if added else "config.yaml"
        command = [python, str(self.inject[-1] / "ql_unsloth.py"), "train.py", config]
        if checkpoint is not None:
            command += ["--resume", checkpoint]
        return Overlay(added, environment, command)


def tracker_keys(tracked: Tracking) -> dict[str, object]:
    return {"report_to": list(tracked.names), "run_name": tracked.run, "project": PROJECT} if tracked.names else {}


LAUNCH = UnslothLaunch()
