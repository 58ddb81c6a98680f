"""An edited config, launched with the real trainers: what the file says is what is trained, merged and recorded."""

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
    plugins = ["ql_axolotl.TelemetryPlugin"]
    assert overlay == {"output_dir": "trainer", "plugins": plugins, "dataloader_num_workers": 0}
    adapter = read(run / "adapter" / "adapter_config.json")
    assert (adapter["r"], adapter["use_rslora"]) == (RANK, True)


def test_the_manifest_speaks_of_it(launched: tuple[bytes, Path]) -> None:
    _, run = launched
    manifest = read(run / "run.json")
    plan = manifest["plan"]
    assert (plan["lora_r"], plan["max_steps"], plan["backend"]) == (RANK, STEPS, "axolotl")
    assert plan["reasons"]["lora_r"].startswith("config.yaml:")
    assert (plan["sources"]["lora_r"], plan["sources"]["max_grad_norm"]) == ("file", "file")
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


@pytest.fixture(scope="module")
def launched_unsloth(tmp_path_factory: pytest.TempPathFactory, tickets: Path, golden: Path) -> tuple[bytes, Path]:
    """The same of an Unsloth config, which has a schema of ours and so no keys that the plan does not set."""
    folder = tmp_path_factory.mktemp("edited-unsloth")
    argv = ["export", "--preset", "cpu-tiny", "--backend", "unsloth", "--data", str(tickets), "-o", "mine"]
    done = ql(folder, *argv)
    assert done.returncode == 0, done.stderr
    few = folder / "golden.jsonl"
    few.write_text("".join(golden.read_text().splitlines(keepends=True)[:8]))
    path = folder / "mine" / "config.yaml"
    text = path.read_text()
    for key, value in (("lora_r", RANK), ("max_steps", STEPS), ("output_dir", "./out"), ("weight_decay", 0.05)):
        text, found = re.subn(rf"^{key}: .*$", f"{key}: {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    path.write_text(text)
    argv = ["launch", "--config", "mine/config.yaml", "--gpu", "cpu", "--golden", "golden.jsonl", "--json"]
    done = ql(folder, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return path.read_bytes(), Path(json.loads(done.stdout)["path"])


def test_unsloth_trains_an_edited_config_to_its_end(launched_unsloth: tuple[bytes, Path]) -> None:
    text, run = launched_unsloth
    assert (run / "config.yaml").read_bytes() == text
    manifest = read(run / "run.json")
    plan = manifest["plan"]
    assert (plan["lora_r"], plan["max_steps"], plan["backend"]) == (RANK, STEPS, "unsloth")
    assert (plan["weight_decay"], plan["reasons"]["lora_r"].partition(":")[0]) == (0.05, "config.yaml")
    assert manifest["training"]["steps"] == STEPS
    assert manifest["state"] == "finished"
    assert {stage["state"] for stage in manifest["stages"]} == {"done"}
    assert read(run / "adapter" / "adapter_config.json")["r"] == RANK
    assert not (run / "out").exists(), "the launcher's overlay says where the trainer writes"


def test_unsloths_merge_is_the_model_that_was_trained(launched_unsloth: tuple[bytes, Path]) -> None:
    _, run = launched_unsloth
    manifest = read(run / "run.json")
    assert manifest["merge"]["kl"] <= 1e-4
    assert manifest["merge"]["top1_agreement"] >= 0.99
    assert set(manifest["golden_scores"]) == {"base", "adapter", "merged"}
