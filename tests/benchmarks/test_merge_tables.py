"""The published figures of the merge are those of the JSON."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from load_script import load_script

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "merge"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return load_script(FOLDER / "tables.py")


def test_the_pages_have_the_numbers_of_the_json(tables: ModuleType) -> None:
    built = tables.build()
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- compare -->" in text
        assert tables.filled(text, built) == text, "run python benchmarks/merge/tables.py"


def run(seconds: float, peak: int, code: int = 0) -> dict[str, Any]:
    return {"exit_code": code, "seconds_synced": seconds, "cpu_seconds": 2 * seconds, "peak_mb": peak}


def test_ratios_are_of_the_best_runs_that_ended_well(tables: ModuleType) -> None:
    contenders = {"ql": [run(10.0, 400), run(12.0, 380)], "axolotl default": [run(1.0, 1, code=1), run(30.0, 3800)]}
    results = {"sizes": {"0.7b": {"contenders": contenders}, "3b": {"contenders": {**contenders, "ql": [run(9, 399)]}}}}
    lines = tables.compare(results)
    assert "| 0.7b | Axolotl, default | 2 | 30.0 | 60.0 | 3,800 | 3.0 | 10.0 |  |  |  |" in lines
    reached = tables.targets(results, {"size": "8b", "ratio_to_cp": {"cuda": 2.5}})
    assert [line.rsplit("|", 2)[1].strip() for line in reached[2:]] == ["0.33", "0.10", "0.30", "0.10", "5.0%", "2.50"]
