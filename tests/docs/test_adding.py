"""CONTRIBUTING and the pages on adding things name rooms that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("add-a-*.md"))
THINGS = ("gpu", "model", "family", "trainer", "release", "place", "job", "rule", "verb")
NAMED = re.compile(r"`((?:launcher|presets|tests|templates|schemas|scripts|benchmarks)/[\w./<>*-]*)`")


@pytest.mark.parametrize("path", [ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda path: path.name)
def test_what_a_page_names_is_there(path: Path) -> None:
    """A part in <> stands for any name."""
    text = path.read_text(encoding="utf-8")
    missing = [
        name for name in NAMED.findall(text) if not list(ROOT.glob(re.sub(r"<\w+>|X\.Y", "*", name).rstrip("/")))
    ]
    assert missing == []


def test_each_thing_has_its_page_in_the_table_and_on_the_site() -> None:
    assert {path.stem.removeprefix("add-a-") for path in PAGES} == set(THINGS)
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for thing in THINGS:
        assert f"(docs/add-a-{thing}.md)" in table
        assert f"add-a-{thing}.md" in site
