"""Small files as people have them: what `ql check` says of each, and how it ends. One folder each in cases/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli.main import main

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_case(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    wanted = json.loads(Path("expect.json").read_text(encoding="utf-8"))
    result = CliRunner().invoke(main, ["check", *wanted["args"]])
    assert result.exit_code == wanted["exit"], result.output
    for text in wanted["said"]:
        assert text in result.output
    for text in wanted["absent"]:
        assert text not in result.output
