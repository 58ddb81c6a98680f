"""events.jsonl from inside the trainer: one JSON line per thing that happened."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

# Lost with the power, these would be missed; the others are many, and each sync costs milliseconds.
SYNCED = frozenset({"train_begin", "eval", "save", "stop", "fault", "eval_batch", "crash", "train_end"})


class EventLog:
    """Appends events to a file; a failure to write is nobody's problem but ours."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def write(self, event: str, **values: Any) -> None:
        if not self.path:
            return
        record: dict[str, Any] = {"event": event, "time": round(time.time(), 3)}
        nonfinite = []
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                nonfinite.append(key)
                value = None
            record[key] = value
        if nonfinite:
            record["nonfinite"] = nonfinite
        try:
            with Path(self.path).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
                if event in SYNCED:
                    stream.flush()
                    os.fsync(stream.fileno())
        except OSError:
            self.path = None  # a full disk would fail again at every step
