"""What the stages say about what they found."""

from __future__ import annotations

from launcher.runs.stages import no_change


def test_an_adapter_that_learned_nothing_is_said() -> None:
    merged = {"merged_modules": 28, "delta_error": None}
    assert "checkpoint-1 was the best" in str(no_change(merged, {"best_checkpoint": "checkpoint-1"}))
    assert str(no_change(merged, {"best_checkpoint": None})).endswith("training began with")


def test_an_adapter_that_changes_the_base_is_not_spoken_of() -> None:
    assert no_change({"merged_modules": 28, "delta_error": 0.01}, {"best_checkpoint": "checkpoint-1"}) is None
    assert no_change({"merged_modules": 28}, {}) is None  # merged by a library that measures no delta
