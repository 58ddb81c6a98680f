"""The site builds strictly, asks nobody for anything, and has every page in its navigation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("material")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_the_navigation(site: Path) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    examples = {name for name in there if name.startswith(("examples/", "test-slow/"))}
    assert there - examples <= named
    assert yaml.safe_load(text.split("theme:")[0])["strict"] is True
    for name in there & named:
        assert (site / name).with_suffix(".html").is_file()


def test_the_pages_ask_nobody_for_anything(site: Path) -> None:
    """No font, script, style or picture from another host."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(
            r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"[^>]*rel="stylesheet"', text
        )
        assert not [one for pair in loaded for one in pair if one.startswith(("http:", "https:", "//"))], path


def test_pages_that_stand_beside_docs_are_in_it(site: Path) -> None:
    contributing = (site / "contributing.html").read_text(encoding="utf-8")
    assert 'src="assets/architecture.svg"' in contributing
    assert "--8&lt;--" not in contributing
    assert "Unreleased" in (site / "changelog.html").read_text(encoding="utf-8")


def test_search_works_in_pages_opened_from_a_disk(site: Path) -> None:
    """Browsers start no worker for a file: the index comes as a script, and so does what stands in for the worker."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "reference" / "commands.html").as_uri())
        page.click("[data-md-component=search-query]")
        page.keyboard.type("excess_length")
        page.wait_for_selector(".md-search-result__item a[href*='data.html']", state="attached")
        assert all(url.startswith("file:") for url in asked)
        browser.close()
