"""How long a report of a hundred thousand logged steps takes to open: made here, opened in headless Chromium; as JSON.

    python benchmarks/report/open_page.py --out benchmarks/report/open_page.json

Times are seconds of the browser's own clock, from the beginning of the navigation: until the page's structure stands
(interactive), and until every chart is drawn. Of several openings each is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from launcher.records.codec import decode
from launcher.records.run import Manifest
from launcher.runs.results.reporting import write_report
from launcher.runs.run import create_run

RECORDED = Path(__file__).resolve().parent.parent.parent / "tests" / "report" / "recorded" / "qlora"


def write_events(path: Path, steps: int) -> None:
    """Telemetry as the trainer's callback writes it, with noise that does not compress away."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"event": "train_begin", "time": 1e9, "step": 0, "max_steps": steps}) + "\n")
        for step in range(1, steps + 1):
            event = {
                "event": "log", "time": round(1e9 + 1.37 * step, 3), "step": step, "epoch": 3 * step / steps,
                "loss": 2 / (1 + step / 5000) + draw.random() * 0.3, "learning_rate": 2e-4 * (1 - step / steps),
                "grad_norm": draw.random(), "tokens_per_second": round(1200 + draw.random() * 80, 1), "tokens": 16384,
                "skipped_steps": 0, "peak_memory_gib": 6.39, "peak_allocated_gib": 6.1, "device_gib": 7.2,
            }  # fmt: skip
            stream.write(json.dumps(event) + "\n")
            if step % (steps // 12) == 0:
                loss = {"event": "eval", "time": event["time"], "step": step, "epoch": event["epoch"]}
                stream.write(json.dumps({**loss, "eval_loss": event["loss"], "seconds": 9.1}) + "\n")
                stream.write(json.dumps({"event": "save", "time": event["time"], "step": step}) + "\n")


def measure(path: Path, times: int) -> tuple[str, list[dict[str, float]]]:
    """Chromium's version, and the times of each opening."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    found, version = [], ""
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            version = browser.version
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            blank = path.with_name("blank.html")
            blank.write_text("<title>blank</title>", encoding="utf-8")
            page.goto(blank.as_uri())  # a browser that is open already: its processes have started
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-drawn]")
            interactive = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
            drawn = page.evaluate("performance.getEntriesByName('ql-drawn')[0].startTime")
            found.append({"interactive": round(interactive / 1000, 3), "drawn": round(drawn / 1000, 3)})
            browser.close()
    return version, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    manifest = json.loads((RECORDED / "run.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), "long", decode(Manifest, manifest))
        shutil.copytree(RECORDED / "golden", run.path / "golden")
        write_events(run.path / "events.jsonl", options.steps)
        began = time.monotonic()
        path = write_report(run)
        written = time.monotonic() - began
        version, opened = measure(path, options.times)
        result = {
            "steps": options.steps,
            "events_mib": round((run.path / "events.jsonl").stat().st_size / 2**20, 2),
            "page_mib": round(path.stat().st_size / 2**20, 2),
            "write_seconds": round(written, 2),
            "open_seconds": opened,
            "chromium": version,
            "python": platform.python_version(),
            "date": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),  # other work on the machine slows this down
            "machine": platform.machine(),
        }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
