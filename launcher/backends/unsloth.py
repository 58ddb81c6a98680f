"""Unsloth: the exported train.py, unmodified, under a wrapper that registers the telemetry."""

from __future__ import annotations

from pathlib import Path

from launcher.backends.base import INJECT, Backend, Overlay


class UnslothBackend(Backend):
    """Unsloth's generated code stays inside the run."""

    name = "unsloth"

    def overlay(self, folder: Path, python: str) -> Overlay:
        environment = {"UNSLOTH_COMPILE_LOCATION": str(folder / "trainer" / "unsloth_code"), "WANDB_MODE": "disabled"}
        command = [python, str(INJECT / "ql_unsloth.py"), "train.py", "config.yaml"]
        return Overlay({}, environment, command)
