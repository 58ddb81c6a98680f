"""Experiment trackers: which keys and environment variables make a trainer's own integration write, here and offline.

Nothing is sent anywhere unless the person's environment says so (``WANDB_MODE=online``, ``MLFLOW_TRACKING_URI``): by
default each tracker writes under ``tracking/`` of the run. A variable that the person has set always wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Name of a tracker, as `--track` and the trainers' `report_to` take it -> the package that must be installed.
TRACKERS = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard", "trackio": "trackio"}
PROJECT = "ql"  # project or experiment that runs are filed under


@dataclass(frozen=True)
class Tracking:
    """How a run is tracked: by whom, under which name, and with which environment variables. No names: not at all."""

    names: tuple[str, ...] = ()
    run: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def tracking(names: Sequence[str], folder: Path) -> Tracking:
    """How the run in ``folder`` is tracked by ``names``; the run's name is the folder's. No names: tracking is off."""
    if not names:
        return Tracking(environment={"WANDB_MODE": "disabled"})
    run, place = folder.name, folder / "tracking"
    # Read by ql's plugins: a trainer may have no key for the run's name, or for the project.
    environment = {"QL_RUN_NAME": run, "QL_PROJECT": PROJECT}
    for name in names:
        match name:
            case "wandb":
                defaults = {"WANDB_MODE": "offline", "WANDB_PROJECT": PROJECT, "WANDB_DIR": str(place)}
                place.mkdir(exist_ok=True)  # W&B writes to /tmp where its folder is missing
            case "mlflow":
                # A database rather than a folder of files, which MLflow no longer recommends.
                uri = f"sqlite:///{place / 'mlflow.db'}"
                defaults = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": PROJECT}
                place.mkdir(exist_ok=True)
            case "tensorboard":
                defaults = {"TENSORBOARD_LOGGING_DIR": str(place / "tensorboard" / run)}
            case "trackio":
                defaults = {"TRACKIO_DIR": str(place / "trackio")}
            case _:
                raise ValueError(name)
        # What the person has set is inherited as it is, and not written down: such a URI may hold a password.
        environment |= {key: value for key, value in defaults.items() if key not in os.environ}
    return Tracking(tuple(names), run, environment)
