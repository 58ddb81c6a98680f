"""Axolotl as a process: `axolotl train` on config + overlay, written together as effective.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from launcher.trainers.axolotl.codec import CODEC
from launcher.trainers.launch import EFFECTIVE, Launch, Overlay, write_effective
from launcher.trainers.tracking import Tracking, tracking

PLUGIN = "ql_axolotl.TelemetryPlugin"
# While none of these is set Axolotl loads rows in processes of their own, one for each card.
LOADING = ("dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor")
RUN_NAME_KEYS = {"wandb": "wandb_name", "mlflow": "mlflow_run_name", "trackio": "trackio_run_name"}


class AxolotlLaunch(Launch):
    """Telemetry comes from a plugin; `--launcher python` trains without one more process for accelerate."""

    name = "axolotl"
    codec = CODEC
    trusted = ("prepared*",)  # tokenised rows

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, object],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        config = yaml.safe_load((folder / "config.yaml").read_bytes())
        tracked = tracking(track, folder)
        added = {**changes, **tracker_keys(tracked), "plugins": [*(config.get("plugins") or []), PLUGIN]}
        if all(config.get(key) is None for key in LOADING):
            # Axolotl's own workers die of a SIGTERM to the whole job, and the trainer with them; rows are tokenised
            # before training, and there is nothing to load ahead.
            added["dataloader_num_workers"] = 0
        if checkpoint is not None:
            added["resume_from_checkpoint"] = checkpoint
        write_effective(folder, added, "Axolotl")
        command = [python, "-m", "axolotl.cli.main", "train", EFFECTIVE, "--launcher", "python"]
        return Overlay(added, dict(tracked.environment), command)


def tracker_keys(tracked: Tracking) -> dict[str, object]:
    """Axolotl has no key for the run's name with TensorBoard, and none for Trackio's project: the plugin sets them."""
    keys: dict[str, object] = {}
    for name in tracked.names:
        keys[f"use_{name}"] = True
        if name in RUN_NAME_KEYS:
            keys[RUN_NAME_KEYS[name]] = tracked.run
    return keys


LAUNCH = AxolotlLaunch()
