"""Each fault in each real trainer: mended and finished, or stopped early and named."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.survive import (
    STEPS,
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

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.fixture(scope="module", params=["axolotl", "unsloth"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> Path:
    return few_rows(tmp_path_factory.mktemp("rows"), tickets)


@pytest.mark.parametrize(
    ("fault", "more", "kind", "after"),
    [
        ({"kind": "oom_train", "step": 1, "above": 1}, [], "oom_train", {"micro_batch_size": 1}),
        ({"kind": "oom_eval", "step": 1, "above": 1}, [], "oom_eval", {"eval_batch_size": 1}),
        ({"kind": "nan", "step": 6, "above": 1.5e-3}, [], "nonfinite_loss", {"learning_rate": 1e-3}),
        ({"kind": "kill", "step": 6}, [], "exit", {}),
        ({"kind": "exit", "step": 6}, [], "exit", {}),
        ({"kind": "hang", "step": 6}, ["--stall-after", "30"], "stall", {}),
    ],
)
def test_mended(
    tmp_path: Path, backend: str, rows: Path, fault: dict[str, Any], more: list[str], kind: str, after: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    end(ql(*launch_words(backend, rows, run, *more), fault=fault))
    data = manifest(run)
    assert data["state"] == "finished"
    assert data["training"]["steps"] == STEPS
    [repair] = data["repairs"]
    assert repair["kind"] == kind
    assert repair["after"].items() >= after.items()
    if kind == "stall":
        assert "ql_test_faults.py" in (run / "train.log").read_text()  # the stack of what hung
    if kind == "oom_eval":
        assert len(events(run, "train_begin")) == 1  # the training was not touched


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"kind": "oom_train", "step": 3, "above": 0}, None, "out of GPU memory"),
        ({"kind": "zero_loss", "step": 3}, "zero_loss", "exactly 0"),
        ({"kind": "zero_gradients", "step": 3}, "zero_gradients", "gradients"),
        ({"kind": "masked", "step": 3}, "labels_masked", "masked"),
        ({"kind": "diverge", "step": 5}, "divergence", "diverges"),
        ({"kind": "nan", "step": 3, "above": 0.0}, "nonfinite_loss", "not finite"),
    ],
)
def test_stopped_and_named(
    tmp_path: Path, backend: str, rows: Path, fault: dict[str, Any], kind: str | None, said: str
) -> None:
    run = tmp_path / "run"
    output = end(ql(*launch_words(backend, rows, run), fault=fault), 3)
    assert said in output
    assert f"ql resume {run}" in output
    assert manifest(run)["state"] == "failed"
    if kind is not None:
        assert events(run, "fault")[-1]["kind"] == kind
        assert events(run, "fault")[-1]["step"] < STEPS


def test_switched_off_it_fails_instead(tmp_path: Path, backend: str, rows: Path) -> None:
    run = tmp_path / "run"
    fault = {"kind": "oom_train", "step": 1, "above": 1}
    output = end(ql(*launch_words(backend, rows, run, "--no-repair", "oom-train"), fault=fault), 3)
    assert "--set micro_batch_size=N" in output
    assert manifest(run)["repairs"] == []


def test_sigterm_leaves_a_checkpoint_and_no_process(tmp_path: Path, backend: str, rows: Path) -> None:
    run = tmp_path / "run"
    process = ql(*launch_words(backend, rows, run))
    wait(process, at_step(run, 3))
    process.send_signal(signal.SIGTERM)
    end(process, 143)
    assert gone(run)
    stopped = events(run, "stop")[0]["step"]
    assert events(run, "save")[-1]["step"] == stopped
    end(ql("resume", str(run)))
    assert manifest(run)["resumes"][0]["from_step"] == stopped


def test_a_closed_terminal_ends_nothing(tmp_path: Path, backend: str, rows: Path) -> None:
    run = tmp_path / "run"
    process = ql(*launch_words(backend, rows, run))
    wait(process, at_step(run, 2))
    assert process.stdout is not None
    process.stdout.close()  # whoever watched is gone
    process.send_signal(signal.SIGHUP)
    while process.poll() is None:
        time.sleep(0.1)
    assert manifest(run)["state"] == "finished"
