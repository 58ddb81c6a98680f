"""An edited config, launched with the real Axolotl: what the file says is what is trained, merged and recorded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.acceptance
STEPS, RANK = 3, 4


def ql(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launcher", *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, tickets: Path, golden: Path) -> tuple[bytes, Path]:
    """The text of the config, and the run."""
    folder = tmp_path_factory.mktemp("edited")
    done = ql(folder, "export", "--preset", "cpu-tiny", "--data", str(tickets), "-o", "mine")
    assert done.returncode == 0, done.stderr
    few = folder / "golden.jsonl"
    few.write_text("".join(golden.read_text().splitlines(keepends=True)[:8]))
    path = folder / "mine" / "config.yaml"
    text = re.sub(r"^lora_r: .*$", f"lora_r: {RANK}", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^output_dir: .*$", "output_dir: ./out", text, flags=re.MULTILINE)
    path.write_text(f"{text}\n# a key that the plan does not set\npeft_use_rslora: true\nmax_steps: {STEPS}\n")
    argv = ["launch", "--config", "mine/config.yaml", "--preset", "cpu-tiny", "--golden", "golden.jsonl", "--json"]
    done = ql(folder, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return path.read_bytes(), Path(json.loads(done.stdout)["path"])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_file_is_what_was_trained(launched: tuple[bytes, Path]) -> None:
    text, run = launched
    assert (run / "config.yaml").read_bytes() == text
    overlay = yaml.safe_load((run / "overlay.yaml").read_text())["config"]
    assert overlay == {"output_dir": "trainer", "plugins": ["ql_axolotl.TelemetryPlugin"]}
    adapter = read(run / "adapter" / "adapter_config.json")
    assert (adapter["r"], adapter["use_rslora"]) == (RANK, True)


def test_the_manifest_speaks_of_it(launched: tuple[bytes, Path]) -> None:
    _, run = launched
    manifest = read(run / "run.json")
    plan = manifest["plan"]
    assert (plan["lora_r"], plan["max_steps"], plan["backend"]) == (RANK, STEPS, "axolotl")
    assert plan["reasons"]["lora_r"].startswith("config.yaml:")
    assert manifest["training"]["steps"] == STEPS
    assert manifest["state"] == "finished"
    assert {stage["state"] for stage in manifest["stages"]} == {"done"}


def test_the_merge_follows_the_adapter_of_the_file(launched: tuple[bytes, Path]) -> None:
    """With rslora the delta is scaled by alpha / sqrt(r): a merge that read the plan's recipe would be far off."""
    _, run = launched
    manifest = read(run / "run.json")
    assert manifest["merge"]["kl"] <= 1e-4
    assert manifest["merge"]["top1_agreement"] >= 0.99
    assert set(manifest["golden_scores"]) == {"base", "adapter", "merged"}


def test_unsloth_takes_an_edited_config_too(tmp_path: Path, tickets: Path, golden: Path) -> None:
    argv = ["export", "--preset", "cpu-tiny", "--backend", "unsloth", "--data", str(tickets), "-o", "mine"]
    assert ql(tmp_path, *argv).returncode == 0
    path = tmp_path / "mine" / "config.yaml"
    path.write_text(re.sub(r"^lora_r: .*$", "lora_r: 4", path.read_text(), flags=re.MULTILINE))
    argv = ["launch", "--config", "mine/config.yaml", "--gpu", "cpu", "--golden", str(golden), "--dry-run", "--json"]
    done = ql(tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["plan"]["lora_r"] == 4
    assert facts["files"]["config.yaml"] == path.read_text()
    assert facts["command"] == "python train.py config.yaml"
