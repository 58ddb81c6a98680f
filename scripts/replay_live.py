"""Play a recorded run through the live view again, faster than it went: what the recording in docs/ shows.

    python scripts/record_live.py --out docs/recordings/live.cast -- \\
      python scripts/replay_live.py tests/report/recorded/qlora --speed 6

Stages, telemetry and their times are the run's own, and so is the clock of the view: time and money are right.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.cli.progress import LiveProgress
from launcher.cli.watch import Known
from launcher.records.codec import decode


def happenings(folder: Path, manifest: dict[str, Any]) -> list[tuple[float, str, Any]]:
    """What happened, and when (Unix seconds): stages and telemetry in their order."""
    found: list[tuple[float, str, Any]] = []
    for stage in manifest["stages"]:
        if stage.get("started"):
            began = datetime.fromisoformat(stage["started"]).timestamp()
            found += [(began, "begin", stage["name"]), (began + stage["seconds"], "end", stage["name"])]
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        found.append((event["time"], "event", event))
    return sorted(found, key=lambda happening: happening[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    manifest = json.loads((options.run / "run.json").read_text(encoding="utf-8"))
    facts = decode(Known, {key: manifest[key] for key in ("plan", "estimate", "created")})
    queue = happenings(options.run, manifest)
    offset, began = queue[0][0], time.monotonic()
    progress = LiveProgress(facts)
    progress.watch.clock = lambda: offset + (time.monotonic() - began) * options.speed
    for at, kind, what in queue:
        time.sleep(max(0.0, (at - progress.watch.clock()) / options.speed))
        if kind == "event":
            progress.telemetry(what)
        else:
            progress.stage(what, "running" if kind == "begin" else "done")
    progress.close()


if __name__ == "__main__":
    main()
