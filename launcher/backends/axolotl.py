"""Axolotl: `axolotl train` on config + overlay, written together as effective.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher.backends.base import EFFECTIVE, Backend, Overlay, write_effective
from launcher.backends.tracking import tracking

PLUGIN = "ql_axolotl.TelemetryPlugin"


class AxolotlBackend(Backend):
    """Telemetry comes from a plugin; `--launcher python` trains without one more process for accelerate."""

    name = "axolotl"

    def overlay(self, folder: Path, python: str, changes: Mapping[str, Any], track: Sequence[str] = ()) -> Overlay:
        config = yaml.safe_load((folder / "config.yaml").read_bytes())
        tracked = tracking(track, folder)
        added = {**changes, **tracked.axolotl, "plugins": [*(config.get("plugins") or []), PLUGIN]}
        write_effective(folder, added, "Axolotl")
        command = [python, "-m", "axolotl.cli.main", "train", EFFECTIVE, "--launcher", "python"]
        return Overlay(added, tracked.environment, command)
