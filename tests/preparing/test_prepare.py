"""What preparing a run refuses, and what it says then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.errors import BadInput
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request
from launcher.resources import resource


def test_a_base_in_a_folder_that_the_trainer_misreads_is_refused_with_the_way_out(
    tickets: Path, tmp_path: Path
) -> None:
    base = tmp_path / "pixtral-tests" / "base"
    shutil.copytree(resource("presets", "models", "cpu-tiny"), base)
    with pytest.raises(BadInput, match="QL716") as refused:
        prepare(make_request(preset="cpu-tiny", model=str(base)), tickets)
    (problem,) = refused.value.problems
    assert "Unsloth" in str(problem.hint)
    prepare(make_request(preset="cpu-tiny", model=str(base), backend="unsloth"), tickets)


def test_golden_prompts_that_stand_twice_become_a_note(tickets: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"input": "a", "target": "b"}\n{"input": "a", "target": "c"}\n')
    (note,) = prepare(make_request(preset="cpu-tiny"), tickets, golden=golden).notes
    assert f"{golden}: line 2: the same prompt as line 1" in note
