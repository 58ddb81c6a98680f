"""A run of a real trainer that is stopped, killed or broken ends with the same adapter as one that was left alone."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.survive import (
    STEPS,
    adapter,
    at_step,
    end,
    events,
    few_rows,
    gone,
    launch_words,
    manifest,
    ql,
    wait,
)  # fmt: skip

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> Path:
    return few_rows(tmp_path_factory.mktemp("rows"), tickets)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, rows: Path) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    end(ql(*launch_words("unsloth", rows, run)))
    return run


def test_killed_without_a_word_and_resumed(tmp_path: Path, rows: Path, undisturbed: Path) -> None:
    run = tmp_path / "run"
    process = ql(*launch_words("unsloth", rows, run))
    wait(process, at_step(run, 7))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while not gone(run):  # the trainer dies with its launcher
        time.sleep(0.05)
    newest = run / "trainer" / "checkpoint-6"
    if newest.is_dir():  # half-written, as a power cut leaves it
        (newest / "adapter_model.safetensors").write_bytes(b"half")
    output = end(ql("resume", str(run)))
    data = manifest(run)
    assert data["state"] == "finished"
    assert data["resumes"][0]["stage"] == "train"
    assert data["training"]["steps"] == STEPS
    assert 0 < data["resumes"][0]["from_step"] < 7, output
    assert adapter(run) == adapter(undisturbed)


def test_a_detached_run_mends_itself_and_can_be_followed(tmp_path: Path, rows: Path) -> None:
    run = tmp_path / "run"
    fault = {"kind": "oom_train", "step": 4, "above": 1}
    said = end(ql(*launch_words("unsloth", rows, run, "--detach"), fault=fault))
    assert str(run) in said
    second = ql("resume", str(run))
    assert "is being worked on by process" in end(second, 3)
    seen = end(ql("runs", str(run), "--follow"))
    data = manifest(run)
    assert data["state"] == "finished", seen
    [repair] = data["repairs"]
    assert (repair["kind"], repair["before"]["micro_batch_size"], repair["after"]["micro_batch_size"]) == (
        "oom_train",
        2,
        1,
    )
    assert repair["after"]["gradient_accumulation_steps"] == 2 * repair["before"]["gradient_accumulation_steps"]
    assert data["training"]["steps"] == STEPS
    assert "micro-batch 2 to 1" in seen


def test_ctrl_c_saves_and_a_resume_goes_on_with_axolotl(tmp_path: Path, rows: Path) -> None:
    run = tmp_path / "run"
    process = ql(*launch_words("axolotl", rows, run))
    wait(process, at_step(run, 3))
    process.send_signal(signal.SIGINT)
    output = end(process, 130)
    assert "checkpoint" in output
    data = manifest(run)
    assert data["state"] == "stopped"
    stopped = events(run, "stop")[0]["step"]
    assert [event["step"] for event in events(run, "save")][-1] == stopped
    assert not (run / "adapter").exists()
    end(ql("resume", str(run)))
    data = manifest(run)
    assert data["state"] == "finished"
    assert data["resumes"][0]["from_step"] == stopped
    steps = [event["step"] for event in events(run, "log")]
    assert steps == list(range(1, STEPS + 1))  # none twice, none left out
