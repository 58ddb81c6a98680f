"""Pictures of the report and of a comparison, from the recorded runs, at three widths and in both themes.

python scripts/make_screenshots.py docs/screenshots
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from launcher.runs.comparison import compare
from launcher.runs.reporting import write_report
from launcher.runs.run import open_run

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "report" / "recorded"
WIDTHS = (1200, 768, 390)
THEMES = ("light", "dark")


def shoot(page: Page, path: Path, quality: int = 45) -> None:
    """The whole page; JPEG where it is long, since a PNG of it would be a megabyte."""
    page.wait_for_timeout(300)
    page.screenshot(path=path, full_page=True, type="jpeg", quality=quality)


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
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
                    page.locator(".prompt > summary").nth(1).click()
                    shoot(page, target / f"{name}-{width}-{theme}.jpg")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
