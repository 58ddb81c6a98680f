"""Unsloth: the exported train.py, unmodified, under a wrapper that registers the telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.backends.base import EFFECTIVE, INJECT, Backend, Overlay, write_effective


class UnslothBackend(Backend):
    """Unsloth's generated code stays inside the run."""

    name = "unsloth"

    def overlay(self, folder: Path, python: str, changes: Mapping[str, Any]) -> Overlay:
        environment = {"UNSLOTH_COMPILE_LOCATION": str(folder / "trainer" / "unsloth_code"), "WANDB_MODE": "disabled"}
        if changes:
            write_effective(folder, changes, "train.py")
        config = EFFECTIVE if changes else "config.yaml"
        command = [python, str(INJECT / "ql_unsloth.py"), "train.py", config]
        return Overlay(dict(changes), environment, command)
