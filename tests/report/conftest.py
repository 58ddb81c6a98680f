"""Recorded runs, and a browser to open their pages in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.runs.run import Run, open_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RECORDED = Path(__file__).parent / "recorded"  # qlora/ and lora/: what `ql launch --method both` left on cpu-tiny
STEPS = 100_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, Run]:
    """Copies of the recorded runs, by method."""
    shutil.copytree(RECORDED, tmp_path / "runs")
    return {method: open_run(tmp_path / "runs" / method) for method in ("qlora", "lora")}


@pytest.fixture(scope="module")  # while it is open an event loop runs in this thread: other tests may want their own
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


class Tab:
    """A page in the browser, and everything it complained of or reached for."""

    def __init__(self, browser: Browser, *, width: int = 1200, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> Any:
        self.page.goto(path.resolve().as_uri())
        self.page.wait_for_selector("html[data-drawn]")
        return self.page


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """``new_tab(width=1200, **options)``: a page of its own; options are Playwright's, such as color_scheme."""
    made: list[Tab] = []

    def make(**options: Any) -> Tab:
        made.append(Tab(browser, **options))
        return made[-1]

    yield make
    for one in made:
        one.page.close()


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    return new_tab()


@pytest.fixture
def long_run(recorded: dict[str, Run]) -> Run:
    """A recorded run whose telemetry is that of STEPS steps, with a spike that no sampling may lose."""
    write_events(recorded["qlora"].path / "events.jsonl", STEPS)
    return recorded["qlora"]


def write_events(path: Path, steps: int) -> None:
    """A long run's telemetry, with a loss of 40 in its middle."""
    lines = [{"event": "train_begin", "time": 1e9, "step": 0, "max_steps": steps}]
    for step in range(1, steps + 1):
        loss = 2.0 / (1 + step / 1000) + 0.05 * (step * 7919 % 100) / 100
        if step == steps // 2:
            loss = 40.0
        log: dict[str, Any] = {
            "event": "log", "time": 1e9 + step, "step": step, "epoch": step / steps, "loss": round(loss, 6),
            "learning_rate": 2e-4 * (1 - step / steps), "grad_norm": 0.2 + (step * 31 % 17) / 100,
            "tokens_per_second": 1200.0 + step % 50, "peak_memory_gib": 6.39,
        }  # fmt: skip
        lines.append(log)
        if step % (steps // 12) == 0:
            lines.append({"event": "eval", "time": 1e9 + step, "step": step, "epoch": step / steps, "eval_loss": loss})
            lines.append({"event": "save", "time": 1e9 + step, "step": step})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
