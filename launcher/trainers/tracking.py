"""Experiment trackers: which keys and environment variables make a trainer's own integration write, here and offline.

Nothing is sent anywhere unless the person's environment says so (``WANDB_MODE=online``, ``MLFLOW_TRACKING_URI``): by
default each tracker writes under ``tracking/`` of the run. A variable that the person has set always wins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Name of a tracker, as `--track` and the trainers' `report_to` take it -> the package that must be installed.
TRACKERS = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard", "trackio": "trackio"}
PROJECT = "ql"  # project or experiment that runs are filed under


@dataclass
class Tracking:
    """What to add for the trackers: keys of Axolotl's config, keys of the Unsloth config, environment variables."""

    axolotl: dict[str, Any] = field(default_factory=dict)
    unsloth: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def tracking(names: Sequence[str], folder: Path) -> Tracking:
    """How the run in ``folder`` is tracked by ``names``; the run's name is the folder's. No names: tracking is off."""
    if not names:
        return Tracking(environment={"WANDB_MODE": "disabled"})
    out = Tracking()
    run, place = folder.name, folder / "tracking"
    out.unsloth = {"report_to": list(names), "run_name": run, "project": PROJECT}
    # Read by ql's plugin: Axolotl has no key for the run's name with TensorBoard, and none that sets Trackio's project.
    out.environment |= {"QL_RUN_NAME": run, "QL_PROJECT": PROJECT}
    for name in names:
        out.axolotl[f"use_{name}"] = True
        match name:
            case "wandb":
                out.axolotl["wandb_name"] = run
                defaults = {"WANDB_MODE": "offline", "WANDB_PROJECT": PROJECT, "WANDB_DIR": str(place)}
                place.mkdir(exist_ok=True)  # W&B writes to /tmp where its folder is missing
            case "mlflow":
                out.axolotl["mlflow_run_name"] = run
                # A database rather than a folder of files, which MLflow no longer recommends.
                uri = f"sqlite:///{place / 'mlflow.db'}"
                defaults = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": PROJECT}
                place.mkdir(exist_ok=True)
            case "tensorboard":
                defaults = {"TENSORBOARD_LOGGING_DIR": str(place / "tensorboard" / run)}
            case "trackio":
                out.axolotl["trackio_run_name"] = run
                defaults = {"TRACKIO_DIR": str(place / "trackio")}
            case _:
                raise ValueError(name)
        # What the person has set is inherited as it is, and not written down: such a URI may hold a password.
        out.environment |= {key: value for key, value in defaults.items() if key not in os.environ}
    return out
