"""events.jsonl from the launcher's side: one JSON object a line, appended by the trainer's callback and by us."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from launcher.records.events import Event

EVENTS = "events.jsonl"


def append_event(folder: Path, event: str, **values: Any) -> None:
    """Add one line, on the disk when this returns. ``time`` is Unix seconds, as in the trainer's own events."""
    record = {"event": event, **values, "time": round(time.time(), 3)}
    mend_events(folder)
    with (folder / EVENTS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def mend_events(folder: Path) -> None:
    """End a last line that was cut by a crash, so that the next event does not stand behind its half."""
    path = folder / EVENTS
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            stream.write(b"\n")


def read_events(folder: Path) -> list[Event]:
    """The events so far; a line that was cut, or is still being written, is left out."""
    path = folder / EVENTS
    if not path.is_file():
        return []
    events: list[Event] = []
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                event: Event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and "event" in event:
                events.append(event)
    return events
