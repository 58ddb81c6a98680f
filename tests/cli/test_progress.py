"""The run as it goes: plain lines in pipes and CI logs, a view that is drawn in place on a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from launcher.cli.glyphs import bar, spark
from launcher.cli.live import LiveView
from launcher.cli.progress import (
    CI_INTERVAL,
    PIPE_INTERVAL,
    LiveProgress,
    PlainProgress,
    describe_step,
    make_progress,
)
from launcher.cli.watch import Known, RunWatch
from launcher.records.codec import decode
from launcher.records.run import Repair

FACTS = decode(Known, {
    "plan": {
        "preset": "a10g-7b", "method": "qlora", "backend": "axolotl", "num_epochs": 1.0, "evals_per_epoch": 4,
        "max_steps": None, "max_grad_norm": 0.3, "eval_fraction": 0.05,
    },
    "estimate": {
        "gpu_title": "NVIDIA A10G 24GB", "peak_gib": 7.0, "budget_gib": 21.5, "tokens_per_second": 1300,
        "price": {"usd_per_hour": 1.006, "source": "AWS", "date": "2026-08"},
        "hours_by_part": {"golden": 0.01, "merge": 0.02},
    },
})  # fmt: skip
BEGIN = {"event": "train_begin", "time": 1000.0, "step": 0, "max_steps": 40}
STEP: dict[str, Any] = {
    "event": "log", "time": 1100.0, "step": 10, "epoch": 0.25, "loss": 1.5, "learning_rate": 2e-4, "grad_norm": 0.251,
    "tokens_per_second": 1234.5, "peak_memory_gib": 6.39,
}  # fmt: skip
EVALUATION = {"event": "eval", "step": 10, "eval_loss": 1.25}
REPAIR = decode(Repair, {
    "time": "2026-01-01T00:00:00+00:00", "stage": "train", "kind": "oom", "cause": "out of GPU memory",
    "action": "micro-batch 4 to 2", "step": 12, "before": {}, "after": {},
})  # fmt: skip


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def play(progress: PlainProgress) -> None:
    progress.stage("train", "running")
    for event in (BEGIN, STEP, EVALUATION):
        progress.telemetry(event)
    progress.repair(REPAIR)
    progress.telemetry({**STEP, "step": 13, "nonfinite": ["loss"], "loss": None})
    progress.note("capped")
    progress.stage("train", "done")
    progress.stage("evaluate", "running")
    progress.progress("evaluate", {"text": "base", "done": 3, "total": 24})
    progress.close()


def played(clock: Callable[[], float] = lambda: 1100.0) -> RunWatch:
    watch = RunWatch(FACTS, clock)
    for name in ("prepare", "train", "evaluate"):
        watch.stage(name, "pending")
    watch.stage("train", "running")
    for event in (BEGIN, STEP, EVALUATION):
        watch.telemetry(event)
    watch.messages.append(("repair", "train, step 12: out of GPU memory: micro-batch 4 to 2"))
    return watch


def draw(watch: RunWatch, width: int, *, height: int = 40, encoding: str = "utf-8", **options: Any) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(file=stream, width=width, height=height, force_terminal=True, **options)
    console.print(LiveView(watch))
    stream.flush()
    drawn: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return drawn.decode(encoding)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_step_in_words() -> None:
    assert describe_step(STEP, 40) == (
        "step 10/40  epoch 0.25  loss 1.5000  lr 2.00e-04  grad 0.251  1,234 tok/s  6.39 GiB"
    )


def test_a_loss_that_is_not_finite_is_no_number() -> None:
    assert "loss -" in describe_step({"step": 1, "loss": None}, None)


def test_piped_it_is_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress = make_progress(FACTS)
    assert type(progress) is PlainProgress
    assert progress.interval == PIPE_INTERVAL
    play(progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    for said in (
        "train …", "step 10/40", "eval loss 1.2500", "note: capped", "train done in", "left",
        "repair: train, step 12: out of GPU memory: micro-batch 4 to 2", "warning: loss is not finite at step 13",
    ):  # fmt: skip
        assert said in err
    assert err.count("step 1") - err.count("at step 1") - err.count("train, step 1") == 2  # one line per interval


def test_a_line_per_interval(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    progress = PlainProgress(interval=10)
    for second in range(0, 35):
        monkeypatch.setattr("launcher.cli.progress.time.monotonic", lambda now=float(second): now)
        progress.telemetry({**STEP, "step": second})
    shown = re.findall(r"step (\d+)", capsys.readouterr().err)
    assert shown == ["0", "10", "20", "30"]


def test_a_ci_log_is_plain_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    progress = make_progress(FACTS)
    assert type(progress) is PlainProgress
    assert progress.interval == CI_INTERVAL


def test_a_terminal_that_cannot_move_up_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_progress(FACTS)) is PlainProgress


def test_github_shows_warnings_beside_the_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    PlainProgress().repair(REPAIR)
    assert capsys.readouterr().err.startswith("::warning title=ql repair::train, step 12")


def test_on_a_terminal_what_matters_stays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    play(LiveProgress(FACTS))
    err = capsys.readouterr().err
    for said in ("train done in", "repair: train, step 12", "warning: loss is not finite", "note: capped"):
        assert said in err


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_view_has_every_number(width: int) -> None:
    drawn = plain(draw(played(), width))
    for said in (
        "a10g-7b · qlora with axolotl · NVIDIA A10G 24GB", "▸ train", "step 10/40", "25%", "epoch 0.25 of 1",
        "1.5000", "1.2500", "2.00e-04", "0.251 (clipped at 0.3)", "1,234 (predicted 1,300)", "6.39 GiB peak",
        "5 min 00 s left of train", "left, at $1.01 an hour"[:12], "repair: train, step 12",
    ):  # fmt: skip
        assert said in drawn, said
    assert max(len(line) for line in drawn.splitlines()) <= width


@pytest.mark.parametrize(("width", "height"), [(20, 40), (30, 40), (45, 40), (120, 8)])
def test_a_small_terminal_gets_few_short_lines(width: int, height: int) -> None:
    lines = plain(draw(played(), width, height=height)).splitlines()
    assert len(lines) <= 5
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("train 10/40 25%"[:width])


def test_without_color_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", draw(played(), 100))
    monkeypatch.delenv("NO_COLOR")
    assert re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", draw(played(), 100, color_system="standard"))


def test_a_terminal_without_blocks_gets_ascii() -> None:
    watch = played()
    watch.losses[:] = [3.0, 2.0, 1.0]
    drawn = draw(watch, 120, encoding="ascii", color_system=None)
    assert "#" in drawn
    assert drawn.isascii()


@pytest.mark.parametrize("width", [60, 66, 80, 99, 100, 110])
def test_nothing_is_cut_off(width: int) -> None:
    """Every stage, every name and every value whole, also when four stages are behind."""
    watch = played()
    watch.messages.clear()
    for name in ("prepare", "train", "evaluate", "merge", "verify", "report"):
        watch.stage(name, "running")
        if name != "report":
            watch.stages[name].began = 1100.0 - 754
            watch.stage(name, "done")
    drawn = plain(draw(watch, width))
    assert "…" not in drawn
    for said in ("✓ prepare", "✓ verify", "▸ report", "gradient norm", "6.39 GiB peak of 21.50", "predicted 7.00"):
        assert said in drawn, said


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_merge_is_counted_in_what_it_tells(width: int) -> None:
    """The merge speaks of bytes, as a share and in words, with the seconds that are left."""
    watch = played()
    watch.stage("train", "done")
    watch.stage("merge", "running")
    watch.progress("merge", {"text": "3.50 of 14.00 GB, 350 MB/s", "fraction": 0.25, "seconds_left": 30.0})
    drawn = plain(draw(watch, width))
    assert "25% 3.50 of 14.00 GB" in drawn
    assert "30.0 s left" in drawn
    assert max(map(len, drawn.splitlines())) <= width


def test_a_stage_that_counts_nothing_yet_says_what_it_does() -> None:
    now = [1100.0]
    watch = RunWatch(FACTS, lambda: now[0])
    watch.stage("train", "running")
    now[0] += 20
    assert "train: the trainer starts: libraries and weights load, 20.0 s" in plain(draw(watch, 80))
    assert plain(draw(watch, 40)).startswith("train: the trainer starts: libraries")
    for event in (BEGIN, STEP):
        watch.telemetry(event)
    assert watch.doing() is None
    watch.telemetry({"event": "train_end"})
    assert watch.doing() == "the adapter is written, 20.0 s"
    watch.stage("train", "done")
    assert watch.doing() is None
    watch.stage("evaluate", "running")
    assert watch.doing() == "libraries and weights load, 0.0 s"
    watch.progress("evaluate", {"text": "base", "done": 0, "total": 24})
    assert watch.doing() is None


def test_a_view_of_nothing_yet() -> None:
    assert "0.0 s spent" in plain(draw(RunWatch(Known(), lambda: 5.0), 80))


def test_a_curve_in_characters() -> None:
    assert spark([3.0, 2.0, 1.0], 8) == "█▅▁"
    assert spark([], 8) == ""
    assert spark([1.0, 1.0], 8) == "▁▁"
    assert len(spark([float(n) for n in range(100)], 10)) == 10
    assert spark([0.0, 1.0], 8, ascii_only=True).isascii()


def test_a_bar_with_quarter_marks() -> None:
    assert bar(0.5, 8, marks=[0.25, 0.5, 0.75]) == "━━┼━┼─┼─"
    assert bar(2.0, 4, ascii_only=True) == "####"
