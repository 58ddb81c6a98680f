"""The run as it goes: plain lines when piped, one rewritten line on a terminal; both say the same."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.cli.progress import LiveProgress, PlainProgress, describe_step, make_progress

BEGIN = {"event": "train_begin", "step": 0, "max_steps": 40}
STEP: dict[str, Any] = {
    "event": "log", "step": 10, "epoch": 0.25, "loss": 1.5, "tokens_per_second": 1234.5, "peak_memory_gib": 6.39,
}  # fmt: skip
EVALUATION = {"event": "eval", "step": 10, "eval_loss": 1.25}


def play(progress: PlainProgress) -> None:
    progress.stage("train", "running")
    for event in (BEGIN, STEP, EVALUATION):
        progress.telemetry(event)
    progress.progress("evaluate", {"text": "base", "done": 3, "total": 24})
    progress.note("capped")
    progress.stage("train", "done")
    progress.close()


def test_a_step_in_words() -> None:
    assert describe_step(STEP, 40) == "step 10/40  epoch 0.25  loss 1.5000  1,234 tok/s  6.39 GiB"


def test_a_loss_that_is_not_finite_is_no_number() -> None:
    assert "loss -" in describe_step({"step": 1, "loss": None}, None)


def test_piped_it_is_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress = make_progress()
    assert type(progress) is PlainProgress
    play(progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    for said in ("train …", "step 10/40", "eval loss 1.2500", "note: capped", "train done in"):
        assert said in err


def test_on_a_terminal_the_line_is_rewritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    progress = LiveProgress()
    play(progress)
    err = capsys.readouterr().err
    for said in ("train …", "eval loss 1.2500", "train done in"):
        assert said in err


def test_time_left_follows_from_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = LiveProgress()
    progress.close()
    monkeypatch.setattr("launcher.cli.progress.time.monotonic", lambda: 100.0)
    progress.telemetry(BEGIN)
    monkeypatch.setattr("launcher.cli.progress.time.monotonic", lambda: 200.0)
    assert progress._time_left(STEP) == "  5 min 00 s left"  # 10 of 40 steps took 100 s
