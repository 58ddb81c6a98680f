"""Run an unmodified train.py with the telemetry callback in every Trainer: ``python ql_unsloth.py train.py ARGS…``."""

from __future__ import annotations

import runpy
import sys


def main(argv: list[str]) -> None:
    import unsloth  # noqa: F401  (first: it patches transformers)
    from transformers import trainer

    from ql_telemetry import TelemetryCallback

    class Telemetry(TelemetryCallback):  # type: ignore[misc]
        trainer, packages = "unsloth", ("unsloth", "unsloth_zoo")

    trainer.DEFAULT_CALLBACKS.append(Telemetry)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
