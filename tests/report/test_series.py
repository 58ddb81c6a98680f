"""The telemetry as columns: exact, with what a later attempt did again marked; sampling keeps a curve's shape."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launcher.report.series import read_series, sample


def log(step: int, loss: float | None) -> dict[str, Any]:
    return {"event": "log", "step": step, "time": 100.0 + step, "loss": loss}


def test_values_are_as_they_were_written() -> None:
    series = read_series([{"event": "train_begin", "step": 0, "max_steps": 3}, log(1, 1.23456789), log(2, None)])
    assert series.logs["loss"] == [1.23456789, None]
    assert series.total_steps == 3
    assert series.kept("loss") == [1.23456789]
    assert "grad_norm" not in series.to_dict()["logs"]


def test_what_a_resumed_run_did_again_is_superseded() -> None:
    first = [log(step, 1.0) for step in (1, 2, 3)]
    again = [{"event": "train_begin", "step": 1, "time": 9.0, "max_steps": 4}, log(2, 0.5), log(3, 0.4)]
    saves = [{"event": "save", "step": 1}, {"event": "save", "step": 3}]
    series = read_series([{"event": "train_begin", "step": 0}, *first, *saves, *again])
    assert series.logs["superseded"] == [0, 1, 1, 0, 0]
    assert series.kept("loss") == [1.0, 0.5, 0.4]
    assert series.saves == [1]
    assert [begin["step"] for begin in series.begins] == [0, 1]


def test_two_resumptions_from_one_checkpoint() -> None:
    events: list[dict[str, Any]] = [{"event": "train_begin", "step": 0}, log(1, 1.0), log(2, 1.0), log(3, 1.0)]
    for loss in (0.8, 0.7):
        events += [{"event": "train_begin", "step": 1}, log(2, loss), log(3, loss)]
    series = read_series(events)
    assert series.kept("loss") == [1.0, 0.7, 0.7]


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 50))
def test_a_sample_stays_within_the_values(values: list[float], most: int) -> None:
    found = sample(values, most)
    assert len(found) == min(len(values), most)
    if values:
        assert min(values) - 1e-6 <= min(found)
        assert max(found) <= max(values) + 1e-6
