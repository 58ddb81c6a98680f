"""Axolotl: `axolotl train` on config + overlay, written together as effective.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml

from launcher.backends.base import Backend, Overlay
from launcher.files import write_atomic

EFFECTIVE = "effective.yaml"
PLUGIN = "ql_axolotl.TelemetryPlugin"


class AxolotlBackend(Backend):
    """Telemetry comes from a plugin; `--launcher python` trains without one more process for accelerate."""

    name = "axolotl"

    def overlay(self, folder: Path, python: str) -> Overlay:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        added = {"plugins": [*(config.get("plugins") or []), PLUGIN]}
        head = "# config.yaml and overlay.yaml together: what Axolotl reads.\n"
        merged = yaml.safe_dump(config | added, sort_keys=False, allow_unicode=True, width=1000)
        write_atomic(folder / EFFECTIVE, head + merged)
        command = [python, "-m", "axolotl.cli.main", "train", EFFECTIVE, "--launcher", "python"]
        return Overlay(added, {"WANDB_MODE": "disabled"}, command)
