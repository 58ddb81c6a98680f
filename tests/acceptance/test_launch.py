"""The main job, with both real trainers, on a CPU, with every network connection refused and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.acceptance

MISSES = "unsloth"  # this trainer's run gets a gate that it misses, besides two that it meets

# Imported by every python of the run: refuses connections to anything but this process's own machine, and says so.
BLOCK = """
import os, socket
connect = socket.socket.connect

def refuse(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        with open(os.environ["QL_TEST_NETWORK_LOG"], "a") as log:
            log.write(f"{address}\\n")
        raise OSError("the network is blocked in this test")
    return connect(self, address)

socket.socket.connect = refuse
socket.socket.connect_ex = refuse
"""


def launch(folder: Path, tickets: Path, golden: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "block").mkdir(exist_ok=True)
    (folder / "block" / "sitecustomize.py").write_text(BLOCK)
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "block"),
        "QL_TEST_NETWORK_LOG": str(folder / "network.log"),
        "HF_HOME": str(folder / "hub"),
    }
    environment.pop("HF_HUB_OFFLINE", None)  # the run must not need to be told that there is no network
    argv = [sys.executable, "-m", "launcher", "launch", "--preset", "cpu-tiny", "--data", str(tickets)]
    argv += ["--golden", str(golden), "--json", *more]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=["axolotl", "unsloth"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tickets: Path, golden: Path
) -> Iterator[tuple[Path, dict[str, Any], Path]]:
    folder = tmp_path_factory.mktemp(request.param)
    gates = ["--gate", "exact_match>=0.8", "--gate", "exact_match>=base"]
    missed = ["--gate", "base.exact_match>=0.99"] if request.param == MISSES else []
    done = launch(folder, tickets, golden, "--backend", request.param, *gates, *missed)
    assert done.returncode == (1 if missed else 0), done.stdout + done.stderr
    facts = json.loads(done.stdout)
    yield Path(facts["path"]), facts, folder


def test_the_model_learns_and_all_three_agree(finished: tuple[Path, dict[str, Any], Path]) -> None:
    _, facts, _ = finished
    scores = {subject: values["exact_match"] for subject, values in facts["golden"].items()}
    assert scores["base"] <= 0.30
    assert scores["adapter"] >= 0.80
    assert scores["merged"] >= 0.80
    assert abs(scores["merged"] - scores["adapter"]) <= 1 / 100  # within one prompt of at least a hundred
    assert [gate["passed"] for gate in facts["gates"][:2]] == [True, True]
    assert facts["state"] == "finished"
    assert {stage["state"] for stage in facts["stages"]} == {"done"}


def test_nothing_reaches_for_the_network(finished: tuple[Path, dict[str, Any], Path]) -> None:
    _, _, folder = finished
    log = folder / "network.log"
    assert not log.exists(), log.read_text()


def test_the_run_directory_is_complete(finished: tuple[Path, dict[str, Any], Path]) -> None:
    path, _, _ = finished
    for name in (
        "run.json", "config.yaml", "overlay.yaml", "train.log", "events.jsonl", "report.html", "chat_template.jinja",
        "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "merged/config.json",
        "merged/tokenizer.json", "merged/generation_config.json", "trainer/quantization.json",
    ):  # fmt: skip
        assert (path / name).stat().st_size, name
    assert "quantization_config" not in json.loads((path / "merged" / "config.json").read_text())


def test_telemetry_has_an_evaluation_each_quarter_epoch(finished: tuple[Path, dict[str, Any], Path]) -> None:
    path, _, _ = finished
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    manifest = json.loads((path / "run.json").read_text())
    epochs = manifest["plan"]["num_epochs"]
    evaluations = [event for event in events if event["event"] == "eval"]
    assert len(evaluations) >= 4 * epochs
    assert evaluations[-1]["eval_loss"] < evaluations[0]["eval_loss"]
    steps = [event for event in events if event["event"] == "log"]
    for key in ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second", "peak_memory_gib"):
        assert key in steps[-1], key


def test_the_quantisation_that_training_used_is_recorded(finished: tuple[Path, dict[str, Any], Path]) -> None:
    path, facts, _ = finished
    record = json.loads((path / "run.json").read_text())["quantization"]
    assert record["quant_type"] == "nf4"
    assert record["double_quant"] is True
    assert record["backend"] == facts["backend"]
    assert len(record["quantized_modules"]) == 4 * 7
    assert not [name for name in record["quantized_modules"] if "lm_head" in name or "embed" in name]


def test_the_merged_model_is_close_to_the_trained_one(finished: tuple[Path, dict[str, Any], Path]) -> None:
    _, facts, _ = finished
    assert facts["merge"]["dtype"] == "float16"
    assert facts["merge"]["kl"] <= 1e-4
    assert facts["merge"]["top1_agreement"] >= 0.99


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["serve", "RUN", "--print"], "vllm serve"),
        (["runs", "RUN"], "finished"),
        (["merge", "--check", "RUN/merged"], ""),
        (["chat", "RUN", "--prompt", "The parcel never came"], ""),
    ],
)
def test_the_run_can_be_used(finished: tuple[Path, dict[str, Any], Path], argv: list[str], said: str) -> None:
    path, _, folder = finished
    argv = [part.replace("RUN", str(path)) for part in argv]
    command = [sys.executable, "-m", "launcher", *argv]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_a_missed_gate_exits_1_after_the_files_are_complete(finished: tuple[Path, dict[str, Any], Path]) -> None:
    path, facts, _ = finished  # the exit code is looked at where the run is launched
    missed = [gate for gate in facts["gates"] if not gate["passed"]]
    assert len(missed) == (facts["backend"] == MISSES)
    assert facts["state"] == "finished"
    assert list((path / "merged").glob("*.safetensors"))
    assert (path / "report.html").is_file()
