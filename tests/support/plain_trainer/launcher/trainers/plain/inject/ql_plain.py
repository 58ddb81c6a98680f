"""Run an unmodified train.py with the telemetry callback in every Trainer: ``python ql_plain.py train.py ARGS…``."""

from __future__ import annotations

import runpy
import sys


def main(argv: list[str]) -> None:
    from transformers import trainer

    from ql_telemetry import TelemetryCallback

    class Telemetry(TelemetryCallback):
        trainer = "plain"

    trainer.DEFAULT_CALLBACKS.append(Telemetry)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
