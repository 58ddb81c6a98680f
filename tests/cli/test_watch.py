"""What is known of a run while it goes: time and money left, and what is worth a warning, said once."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.cli.watch import CURVE, Known, RunWatch
from launcher.records.codec import decode

FACTS: dict[str, Any] = {
    "created": "2026-01-01T00:00:00+00:00",
    "plan": {"num_epochs": 2.0, "evals_per_epoch": 4, "max_steps": None},
    "estimate": {
        "peak_gib": 6.0,
        "budget_gib": 21.0,
        "price": {"usd_per_hour": 1.8, "source": "given"},
        "hours_by_part": {"golden": 0.01, "merge": 0.02},
    },
}
CREATED = 1767225600.0


class Clock:
    def __init__(self) -> None:
        self.now = CREATED

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> RunWatch:
    found = RunWatch(decode(Known, FACTS), clock)
    found.stage("train", "running")
    found.telemetry({"event": "train_begin", "time": CREATED + 10, "step": 0, "max_steps": 40})
    return found


def step(number: int, **more: Any) -> dict[str, Any]:
    return {"event": "log", "step": number, "time": CREATED + 10 + number * 10, "loss": 1.0, **more}


def test_time_and_money_follow_from_the_pace(watch: RunWatch, clock: Clock) -> None:
    assert watch.left() is None
    clock.now = CREATED + 110
    watch.telemetry(step(10))
    assert watch.left() == pytest.approx(300.0)  # 10 of 40 steps took 100 s
    assert watch.describe_time() == "1 min 50 s spent, 5 min 00 s left of train, then about 1 min 48 s"
    assert watch.describe_money() == "$0.055 spent, about $0.20 left, at $1.80 an hour"


def test_a_resumed_training_keeps_its_own_pace(clock: Clock) -> None:
    watch = RunWatch(decode(Known, FACTS), clock)
    watch.stage("train", "running")
    watch.telemetry({"event": "train_begin", "time": CREATED + 10, "step": 20, "max_steps": 40})
    watch.telemetry({"event": "log", "step": 30, "time": CREATED + 60, "loss": 1.0})
    assert watch.left() == pytest.approx(50.0)


def test_another_stage_is_counted_by_what_it_did(watch: RunWatch, clock: Clock) -> None:
    watch.stage("train", "done")
    watch.stage("evaluate", "running")
    clock.now += 30
    watch.progress("evaluate", {"text": "base", "done": 10, "total": 40})
    assert watch.left() == pytest.approx(90.0)


def test_without_a_price_there_is_no_money(clock: Clock) -> None:
    assert RunWatch(Known(), clock).describe_money() is None


def test_quarter_epochs(watch: RunWatch) -> None:
    assert watch.quarters == [index / 8 for index in range(1, 8)]


def test_warnings_are_said_once(watch: RunWatch) -> None:
    bad = step(3, device_gib=6.5, skipped_steps=2, nonfinite=["grad_norm"])
    assert watch.telemetry(bad) == [
        "grad_norm is not finite at step 3",
        "the loss scaler skipped 2 steps by step 3",
        "memory 6.50 GiB is over the 6.00 GiB that were predicted",
    ]
    assert watch.telemetry(step(4, device_gib=6.6, skipped_steps=2)) == []
    assert [kind for kind, _ in watch.messages] == ["warning"] * 3


def test_an_eval_loss_that_rises_is_a_warning(watch: RunWatch) -> None:
    said = [watch.telemetry({"event": "eval", "step": 1, "eval_loss": loss}) for loss in (1.0, 0.5, 0.6, 0.7, 0.8)]
    assert said == [[], [], [], ["eval loss has not bettered its 0.5000 for 2 evaluations"], []]


def test_the_curve_stays_small(watch: RunWatch) -> None:
    for number in range(3 * CURVE):
        watch.telemetry(step(number))
    assert CURVE / 3 < len(watch.losses) <= CURVE


def test_a_run_that_is_watched_from_its_middle_has_its_times(clock: Clock) -> None:
    stages = [
        {"name": "prepare", "state": "done", "seconds": 3.5, "started": "2026-01-01T00:00:00+00:00"},
        {"name": "train", "state": "running", "seconds": None, "started": "2026-01-01T00:00:10+00:00"},
        {"name": "evaluate", "state": "pending", "seconds": None},
    ]
    clock.now = CREATED + 60
    watch = RunWatch(decode(Known, {**FACTS, "stages": stages}), clock)
    watch.stage("prepare", "running")
    assert watch.stage("prepare", "done").seconds == 3.5
    watch.stage("train", "running")
    assert watch.stage("train", "done").seconds == 50.0
    watch.stage("evaluate", "running")
    clock.now += 7
    assert watch.stage("evaluate", "done").seconds == 7.0
    assert watch.spent() == 67.0


def test_the_trial_after_the_first_step_counts_for_no_curve() -> None:
    watch = RunWatch(Known(), clock=lambda: 0.0)
    for trial, loss in ((False, 1.0), (True, 1.1), (False, 1.1)):
        assert watch.telemetry({"event": "eval", "step": 1, "eval_loss": loss, "trial": trial}) == []
    assert watch.evals == [1.0, 1.1]
