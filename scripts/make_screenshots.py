"""Pictures of the report and of a comparison, from the recorded runs, at three widths and in both themes.

python scripts/make_screenshots.py docs/screenshots
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from launcher.cli.live import LiveView
from launcher.cli.watch import Known, RunWatch
from launcher.records.codec import decode
from launcher.records.run import STAGES
from launcher.runs.results.comparison import compare
from launcher.runs.results.reporting import write_report
from launcher.runs.run import open_run

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "report" / "recorded"
WIDTHS = (1200, 768, 390)
THEMES = ("light", "dark")
COLUMNS = (110, 80, 44)  # of a terminal


def shoot(page: Page, path: Path, quality: int = 45) -> None:
    """The whole page; JPEG where it is long, since a PNG of it would be a megabyte."""
    page.wait_for_timeout(300)
    page.screenshot(path=path, full_page=True, type="jpeg", quality=quality)


def draw_live(path: Path, columns: int) -> None:
    """The live view as it was at two thirds of the recorded training."""
    manifest = json.loads((RECORDED / "qlora" / "run.json").read_text(encoding="utf-8"))
    lines = (RECORDED / "qlora" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    shown = [event for event in events if event.get("step", 0) <= manifest["training"]["steps"] * 2 // 3]
    now = shown[-1]["time"]
    stages = [stage for stage in manifest["stages"] if stage["name"] in ("prepare", "train")]
    stages[1] = {**stages[1], "state": "running", "seconds": None}
    watch = RunWatch(decode(Known, {**manifest, "stages": stages}), lambda: now)
    for name in STAGES:
        watch.stage(name, "pending")
    watch.stage("prepare", "running")
    watch.stage("prepare", "done")
    watch.stage("train", "running")
    for event in shown:
        watch.telemetry(event)
    assert datetime.fromisoformat(manifest["created"]).timestamp() < now
    console = Console(record=True, width=columns, height=30, file=io.StringIO(), force_terminal=True)
    console.print(LiveView(watch))
    picture = console.export_svg(title="ql launch")
    path.write_text(
        re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8"
    )  # no font is fetched


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for columns in COLUMNS:
        draw_live(target / f"live-{columns}.svg", columns)
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Path(folder) / "runs"
        shutil.copytree(RECORDED, runs)
        both = [open_run(runs / method) for method in ("qlora", "lora")]
        pages = {"report": write_report(both[0]), "compare": runs / "comparison.html"}
        compare(both, pages["compare"])
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, path in pages.items():
            for width in WIDTHS:
                for theme in THEMES:
                    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                    page.goto(path.as_uri())
                    page.wait_for_selector("html[data-drawn]")
                    if (width, theme) == (WIDTHS[0], "light"):
                        page.screenshot(path=target / f"{name}-top.jpg", type="jpeg", quality=70)
                    page.locator(".prompt > summary").nth(1).click()
                    shoot(page, target / f"{name}-{width}-{theme}.jpg")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
