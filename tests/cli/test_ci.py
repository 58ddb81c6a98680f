"""Where other people's CI runs `ql validate`: the GitHub Action's own shell, and the pre-commit hooks' own entries."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

GOOD = """\
base_model: mistralai/Mistral-7B-v0.3
adapter: lora
lora_r: 16
lora_alpha: 32
lora_target_linear: true
datasets: [{path: data.jsonl, type: alpaca}]
learning_rate: 2e-4
sequence_len: 2048
micro_batch_size: 16
"""


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Path:
    """A repository with a good config, a bad one, one that warns, and a YAML file that is no config."""
    for name, text in {
        "configs/good.yaml": GOOD,
        "configs/more/bad.yaml": GOOD + "lora_rank: 8\n",
        "warns.yml": GOOD.replace("2e-4", "2e-1"),
        "compose.yaml": "services: {web: {image: nginx}}\n",
    }.items():
        path = tmp_path / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = tmp_path / "bin" / "ql"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m launcher "$@"\n')
    program.chmod(0o755)
    return tmp_path / "repo"


def environment(checkout: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{checkout.parent / 'bin'}:{os.environ['PATH']}", **more}


def action(checkout: Path, root: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """The action's last step, as a runner does it: inputs into its environment, its text into bash."""
    described: dict[str, Any] = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    inputs = {name: str(item["default"]) for name, item in described["inputs"].items()} | given
    assert set(given) <= set(described["inputs"])
    step = described["runs"]["steps"][-1]
    assert step["shell"] == "bash"
    variables = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], value)
        for name, value in step["env"].items()
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    env = environment(checkout, **variables)
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)


def test_the_action_annotates_every_config_of_the_repository(checkout: Path, root: Path) -> None:
    done = action(checkout, root)
    assert done.returncode == 1, done.stderr
    assert "::error file=configs/more/bad.yaml,line=10,col=1" in done.stdout
    assert "::warning file=warns.yml,line=7" in done.stdout
    assert "compose.yaml" not in done.stdout


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"files": "configs/good.yaml"}, 0),
        ({"files": "configs/*.yaml warns.yml"}, 0),
        ({"files": "configs/good.yaml\nwarns.yml", "args": "--strict"}, 1),
        ({"files": "warns.yml", "args": "--strict --ignore QL706"}, 0),
        ({"files": "configs/**/*.yaml"}, 1),
        ({"files": "configs/good.yaml", "args": "--gpu a10g"}, 1),  # micro-batch 16 does not fit
        ({"files": "nowhere/"}, 2),
    ],
)
def test_the_inputs_of_the_action(checkout: Path, root: Path, inputs: dict[str, str], code: int) -> None:
    done = action(checkout, root, **inputs)
    assert done.returncode == code, done.stdout + done.stderr


def test_the_action_writes_sarif(checkout: Path, root: Path) -> None:
    assert action(checkout, root, format="sarif").returncode == 1
    log = json.loads((checkout / "ql.sarif").read_text())
    assert {result["ruleId"] for result in log["runs"][0]["results"]} >= {"QL101", "QL706"}


def test_the_action_installs_the_commit_that_it_is_of(root: Path) -> None:
    steps = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    install = next(step for step in steps if step.get("name") == "Install ql")
    assert install["run"] == 'python -m pip install --quiet "$GITHUB_ACTION_PATH"'
    assert all("uses" in step or step.get("shell") for step in steps), "a composite step needs its shell"


def hook(checkout: Path, root: Path, name: str, *files: str) -> subprocess.CompletedProcess[str]:
    """A hook as pre-commit calls it: the entry, then the staged files of its types."""
    hooks = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    described = next(item for item in hooks if item["id"] == name)
    assert (described["language"], described["types"]) == ("python", ["yaml"])
    command = [*shlex.split(described["entry"]), *files]
    return subprocess.run(command, cwd=checkout, env=environment(checkout), capture_output=True, text=True, check=False)


def test_the_hook(checkout: Path, root: Path) -> None:
    everything = ("configs/good.yaml", "configs/more/bad.yaml", "warns.yml", "compose.yaml")
    done = hook(checkout, root, "ql-validate", *everything)
    assert done.returncode == 1
    assert "configs/more/bad.yaml:10:1: error QL101" in done.stdout
    assert "compose.yaml" not in done.stdout
    assert hook(checkout, root, "ql-validate", "configs/good.yaml", "compose.yaml").returncode == 0


def test_the_hook_that_repairs(checkout: Path, root: Path) -> None:
    bad = checkout / "configs" / "more" / "bad.yaml"
    bad.write_text(GOOD.replace("lora_r:", "lora_rank:"))
    assert hook(checkout, root, "ql-validate-fix", "configs/more/bad.yaml", "compose.yaml").returncode == 0
    assert bad.read_text() == GOOD
