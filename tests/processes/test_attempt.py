"""A trainer that stalls, that is asked to stop, that reports a fault: a script stands in for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scenario import Scenario
from script_trainer import Script

from launcher.processes import attempt
from launcher.processes.attempt import Heartbeat
from launcher.processes.faults import TrainerFailed, explain
from launcher.trainers.launch import Start


def run(
    folder: Path, scenario: Scenario, on_event: Callable[[dict[str, Any]], None] = lambda event: None, **start: Any
) -> Any:
    return Script(scenario).train(
        folder, python=sys.executable, memory_fraction=None, on_event=on_event, start=Start(**start)
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempt, "POLL", 0.02)
    monkeypatch.setattr(attempt, "DUMP", 0.5)
    # A process started in the background ignores SIGINT: it would never be interrupted.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_stalled_trainer_leaves_its_stacks_and_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TrainerFailed, match="has done nothing for") as caught:
        run(tmp_path, Scenario().begin().hang(), stall_seconds=0.5)
    assert caught.value.kind == "stall"
    assert caught.value.evidence["silent_seconds"] >= 0.5
    assert "in wait_for_ever" in (tmp_path / "train.log").read_text()


def test_one_that_works_slowly_is_let_be(tmp_path: Path) -> None:
    slow = Scenario().begin(steps=3).work(beats=8, every=0.1).end()
    assert run(tmp_path, slow, stall_seconds=30).steps == 3


def test_what_is_usual_follows_the_trainers_own_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 40.0, 41.0, 41.0])
    monkeypatch.setattr(attempt.time, "monotonic", lambda: next(clock))
    heart = Heartbeat(tmp_path, 5.0)
    assert heart.limit == attempt.STARTING  # it is loading: only its log tells
    (tmp_path / "trainer").mkdir()
    for number, _at in enumerate((0, 10, 40)):
        (tmp_path / "trainer" / "beat").touch()
        os.utime(tmp_path / "trainer" / "beat", (number, number))
        assert heart.silent_for() == 0.0
    assert heart.limit == attempt.MULTIPLE * 30.0
    assert heart.silent_for() == 1.0
    assert Heartbeat(tmp_path, None).limit is None


def test_a_fault_that_the_callback_reports_ends_the_trainer(tmp_path: Path) -> None:
    masked = Scenario().begin().fault("labels_masked", step=4, labels=0, steps=2).hang()
    with pytest.raises(TrainerFailed, match="all labels are masked") as caught:
        run(tmp_path, masked)
    assert (caught.value.kind, caught.value.step) == ("labels_masked", 4)
    assert caught.value.evidence["steps"] == 2


BEGUN = {"event": "train_begin"}
SAVES = Scenario().begin().stop_when_asked(step=2).tell_what_is_asked().save(2)


@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, ""), (signal.SIGTERM, "now")])
def test_a_stop_ends_with_the_checkpoint(tmp_path: Path, number: signal.Signals, how: str) -> None:
    heard: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        heard.append(event)
        if event["event"] == "train_begin":
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    def terminate(_number: int, _frame: Any) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(tmp_path, SAVES.hang(), listen)  # such as loading the best checkpoint
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [event["event"] for event in heard] == ["train_begin", "stop", "asked", "save"]
    assert heard[2]["how"] == how


def test_a_second_interruption_does_not_wait(tmp_path: Path) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("train_begin", "stop"):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    hangs = Scenario().begin().stop_when_asked(step=1).hang()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, hangs, listen, stop_seconds=600)  # pytest's timeout would end it


@pytest.mark.parametrize(
    "trainer",
    [Scenario().hang(), Scenario().begin().wait_until_asked_to_stop().say("stop", step=0, saves=False).hang()],
)
def test_where_nothing_was_trained_nothing_is_waited_for(tmp_path: Path, trainer: Scenario) -> None:
    def terminate(_number: int, _frame: Any) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(SystemExit):
            run(tmp_path, trainer, stop_seconds=600)  # pytest's timeout would end it
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_checkpoint_that_does_not_come_is_not_waited_for_longer_than_said(tmp_path: Path) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "train_begin":
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Scenario().begin().hang(), listen, stop_seconds=0.3)


@pytest.mark.parametrize(
    ("log", "code", "events", "kind"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", 1, [], "oom_train"),
        ("  in evaluation_loop\ntorch.OutOfMemoryError: CUDA out of memory.", 1, [], "oom_eval"),
        ("x", 1, [{"event": "crash", "phase": "eval", "out_of_memory": True, "message": "m"}], "oom_eval"),
        ("x", 1, [{"event": "crash", "phase": "train", "out_of_memory": True, "message": "m"}], "oom_train"),
        ("OSError: [Errno 28] No space left on device", 1, [BEGUN], "disk_full"),
        ("ModuleNotFoundError: No module named 'axolotl'", 1, [], "broken"),
        ("ModuleNotFoundError: No module named 'gradio'", 1, [BEGUN, {"event": "crash", "message": "x"}], "broken"),
        ("", -9, [BEGUN], "exit"),
        ("", -9, [], "broken"),
        ("bye", 3, [BEGUN], "exit"),
        ("bye", 3, [], "broken"),
        ("ValueError: x", 1, [BEGUN, {"event": "crash", "message": "x", "phase": "train"}], "broken"),
        ("RuntimeError", 1, [BEGUN, {"event": "crash", "message": "CUDA error: x", "phase": "train"}], "exit"),
    ],
)  # fmt: skip
def test_ends_are_told_apart(tmp_path: Path, log: str, code: int, events: list[dict[str, Any]], kind: str) -> None:
    (tmp_path / "train.log").write_text(log + "\n")
    assert explain("axolotl", code, tmp_path, events).kind == kind


def test_an_import_that_fails_while_training_is_not_the_trainers(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("ModuleNotFoundError: No module named 'gradio'\n")
    assert "cannot be imported" in str(explain("unsloth", 1, tmp_path, []))
    late = str(explain("unsloth", 1, tmp_path, [BEGUN]))
    assert "cannot be imported" not in late
    assert "ended with exit code 1: ModuleNotFoundError: No module named 'gradio'" in late
