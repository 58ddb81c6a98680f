"""The telemetry callback as a plugin of Axolotl: ``plugins: [ql_axolotl.TelemetryPlugin]``."""

from __future__ import annotations

from typing import Any

from axolotl.integrations.base import BasePlugin


class TelemetryPlugin(BasePlugin):  # type: ignore[misc]
    """Adds the callback before the Trainer is made; changes nothing else."""

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[Any]:
        from ql_telemetry import TelemetryCallback

        return [TelemetryCallback()]
