"""The embedded default on three seeds and with both trainers: it learns the task, and only from right targets."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SEEDS = (1, 2, 3)
BACKENDS = ("axolotl", "unsloth")


def scores(folder: Path, data: Path, golden: Path, seed: int, backend: str, *more: str) -> dict[str, Any]:
    """Exact match by subject after `ql launch` with the preset as it is, but for the seed."""
    argv = [sys.executable, "-m", "launcher", "launch", "--preset", "cpu-tiny", "--backend", backend]
    argv += ["--data", str(data), "--golden", str(golden), "--set", f"seed={seed}", "--json", *more]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {subject: values["exact_match"] for subject, values in json.loads(done.stdout)["golden"].items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_fine_tuned_model_learns_the_task(
    backend: str, seed: int, tickets: Path, golden: Path, tmp_path: Path
) -> None:
    found = scores(tmp_path, tickets, golden, seed, backend)
    assert found["base"] <= 0.30
    assert found["adapter"] >= 0.80
    assert found["merged"] >= 0.80
    rows = len(golden.read_text("utf-8").splitlines())
    assert abs(found["adapter"] - found["merged"]) <= 1.001 / rows  # one prompt


@pytest.mark.parametrize(("backend", "seed"), [("axolotl", 1), ("unsloth", 2), ("unsloth", 3)])
def test_shuffled_targets_teach_nothing(backend: str, seed: int, tickets: Path, golden: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in tickets.read_text("utf-8").splitlines()]
    answers = [row["messages"].pop() for row in rows]
    random.Random(seed).shuffle(answers)
    shuffled = tmp_path / "shuffled.jsonl"
    with shuffled.open("w", encoding="utf-8") as stream:
        for row, answer in zip(rows, answers, strict=True):
            row["messages"].append(answer)
            stream.write(json.dumps(row) + "\n")
    assert scores(tmp_path, shuffled, golden, seed, backend, "--no-merge")["adapter"] <= 0.30
