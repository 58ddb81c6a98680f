"""The telemetry callback as a plugin of Axolotl: ``plugins: [ql_axolotl.TelemetryPlugin]``."""

from __future__ import annotations

import os
from typing import Any

from axolotl.integrations.base import BasePlugin


class TelemetryPlugin(BasePlugin):  # type: ignore[misc]
    """Adds the callback before the Trainer is made, and makes the run repeatable."""

    def pre_model_load(self, cfg: Any) -> None:
        """Let the config's seed decide the adapter's first weights too.

        Axolotl draws them before anything is seeded, and torch starts from a random seed in each process: two bare
        runs of one config begin, and end, with different adapters.
        """
        from transformers import set_seed

        if cfg.seed is not None:
            set_seed(cfg.seed)

    def get_training_args(self, cfg: Any) -> dict[str, str]:
        """The run's name and project for the trackers, where the launch set them."""
        names = {"run_name": os.environ.get("QL_RUN_NAME"), "project": os.environ.get("QL_PROJECT")}
        return {key: value for key, value in names.items() if value}

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[Any]:
        from ql_telemetry import TelemetryCallback

        class Telemetry(TelemetryCallback):  # type: ignore[misc]
            trainer, packages = "axolotl", ("axolotl",)

        return [Telemetry()]
