"""The command that runs a run again makes the same plan."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.report.rerun import rerun_command
from manifests import new_manifest

ASKED = [
    [],
    ["--method", "lora", "--set", "learning_rate=1e-3"],
    ["--max-steps", "7", "--set", "lora_target_modules=[q_proj, v_proj]", "--set", "packing=false"],
    ["--gate", "exact_match>=0.8", "--gate", "exact_match>=base"],
    ["--backend", "unsloth", "--set", "keep=last", "--set", "seed=7"],
]


def plan(argv: list[str]) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*argv, "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)["plan"]
    return found


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_same_plan_comes_out(asked: list[str], tickets: Path, golden: Path) -> None:
    argv = ["launch", "--preset", "cpu-tiny", "--data", str(tickets), "--golden", str(golden), *asked]
    first = plan(argv)
    gates = [text for flag, text in itertools.pairwise(asked) if flag == "--gate"]
    manifest = new_manifest(
        plan=first,
        data={"path": str(tickets), "sha256": ""},
        golden={"path": str(golden), "sha256": "", "rows": 1, "gates": gates},
    )
    command = rerun_command(manifest)
    assert command[:2] == ["ql", "launch"]
    assert plan(command[1:]) == first
    assert [text for flag, text in itertools.pairwise(command) if flag == "--gate"] == gates


def test_what_was_asked_is_asked_again_word_for_word() -> None:
    """With ``auto``, and with a config: neither can be told from what was decided."""
    asked = {
        "preset": "a10g-7b", "gpu": None, "model": None, "method": "auto", "backend": None, "data": "/d/rows.jsonl",
        "config": "/d/my config.yaml", "settings": {"max_steps": 7, "lora_target_modules": ["q_proj"], "keep": "last"},
        "golden": "/d/golden.jsonl", "gates": ["chrf>=base", "exact_match>0.5"], "allow_overlap": True,
        "columns": {"question": "prompt"}, "thoughts": "drop",
    }  # fmt: skip
    plan = {"gpu": "a10g", "model": "mistral-7b", "reasons": {"seed": "set by you"}}
    assert rerun_command(new_manifest(plan=plan, asked=asked)) == [
        "ql", "launch", "--preset", "a10g-7b", "--method", "auto", "--max-steps", "7",
        "--set", 'lora_target_modules=["q_proj"]', "--set", "keep=last", "--config", "/d/my config.yaml",
        "--data", "/d/rows.jsonl", "--golden", "/d/golden.jsonl",
        "--map", "question=prompt", "--thoughts", "drop", "--gate", "chrf>=base", "--gate", "exact_match>0.5",
        "--allow-overlap",
    ]  # fmt: skip


def test_words_that_say_another_thing_than_the_source_are_not_read() -> None:
    plan = {
        "gpu": "a10g", "model": "mistral-7b", "seed": 7, "lora_r": 8,
        "reasons": {"seed": "set by you", "lora_r": "recipe qlora"}, "sources": {"seed": "recipe", "lora_r": "you"},
    }  # fmt: skip
    assert rerun_command(new_manifest(plan=plan))[-2:] == ["--set", "lora_r=8"]


def test_what_was_not_merged_is_not_merged_again() -> None:
    stages = [{"name": "merge", "state": "skipped"}]
    plan = {"gpu": "h200", "model": "llama-2-7b", "reasons": {}}
    manifest = new_manifest(plan=plan, stages=stages, base_mode="original")
    assert rerun_command(manifest) == [
        "ql", "launch", "--gpu", "h200", "--model", "llama-2-7b", "--base", "original", "--no-merge",
    ]  # fmt: skip
