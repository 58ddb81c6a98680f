"""A third trainer, added as one folder, really trains: to a merged checkpoint, and on after kill -9."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from third import Third, with_plain

from tests.acceptance.survive import at_step, few_rows, gone, manifest, wait

pytestmark = pytest.mark.acceptance

SETS = ("effective_batch_size=4", "micro_batch_size=2", "eval_batch_size=2", "eval_fraction=0.05", "logging_steps=1")


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Third:
    return with_plain(tmp_path_factory.mktemp("third"))


def words(data: Path, golden: Path, out: Path) -> list[str]:
    sets = [word for pair in SETS for word in ("--set", pair)]
    named = ["--preset", "cpu-tiny", "--backend", "plain", "--data", str(data), "--golden", str(golden)]
    return ["launch", *named, "--out", str(out), "--max-steps", "10", *sets]


def test_launched_to_a_merged_checkpoint_and_resumed_after_a_kill(
    third: Third, tickets: Path, golden: Path, tmp_path: Path
) -> None:
    data = few_rows(tmp_path, tickets)
    few = tmp_path / "golden.jsonl"
    few.write_text("\n".join(golden.read_text(encoding="utf-8").splitlines()[:4]) + "\n", encoding="utf-8")

    whole = tmp_path / "whole"
    third.ql(*words(data, few, whole))
    assert manifest(whole)["state"] == "finished"
    assert manifest(whole)["quantization"]["backend"] == "plain"
    assert manifest(whole)["quantization"]["quant_type"] == "nf4"

    killed = tmp_path / "killed"
    process = third.start(*words(data, few, killed))
    wait(process, at_step(killed, 6))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    while not gone(killed):
        time.sleep(0.1)
    third.ql("resume", str(killed))
    assert manifest(killed)["state"] == "finished"

    weights = [path.relative_to(whole) for path in whole.glob("*/*.safetensors") if path.parent.name != "trainer"]
    assert {name.parts[0] for name in weights} == {"adapter", "merged"}
    for name in weights:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert (whole / "report.html").is_file()
    said = json.loads(third.ql("runs", str(whole), "--json"))
    assert said["merge"]["dtype"] == "float16"
    assert set(said["golden"]) == {"base", "adapter", "merged"}
