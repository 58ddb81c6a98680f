"""The telemetry callback as a plugin of Axolotl: ``plugins: [ql_axolotl.TelemetryPlugin]``."""

from __future__ import annotations

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

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[Any]:
        from ql_telemetry import TelemetryCallback

        return [TelemetryCallback()]
