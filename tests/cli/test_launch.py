"""What `ql launch --dry-run` reckons follows from what the launch would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli.main import main


def estimated(*arguments: str) -> Any:
    result = CliRunner().invoke(main, ["launch", "--dry-run", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("method", ["qlora", "both"])
def test_a_run_without_a_merge_takes_no_time_for_one(method: str, tickets: Path, golden: Path) -> None:
    wanted = ("--preset", "h100-7b", "--data", str(tickets), "--golden", str(golden), "--method", method)
    for merged, alone in zip(_each(estimated(*wanted)), _each(estimated(*wanted, "--no-merge")), strict=True):
        assert merged["hours_by_part"]["merge"] > 0
        assert alone["hours_by_part"]["merge"] == alone["hours_by_part"]["verify"] == 0
        assert 0 < alone["hours_by_part"]["golden"] < merged["hours_by_part"]["golden"]
        assert alone["hours"] < merged["hours"]
        assert alone["usd"] < merged["usd"]


def _each(facts: Any) -> list[Any]:
    runs = (
        [facts]
        if "estimate" in facts
        else [one for one in facts.values() if isinstance(one, dict) and "estimate" in one]
    )
    assert runs
    return [run["estimate"] for run in runs]
