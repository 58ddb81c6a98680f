"""What the memory model says of the blind test's cases since it has learned from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.sizing import blind, since

RESULTS: dict[str, dict[str, Any]] = blind.read()
PLAIN = {name: raw for name, raw in RESULTS.items() if not raw["shape"].get("expected")}


def errors(trainer: str, figure: str) -> list[float]:
    pairs = [
        since.residuals(raw)[figure]
        for name, raw in PLAIN.items()
        if raw["trainer"] == trainer and not blind.bounded(name, raw)
    ]
    return [predicted / measured - 1 for measured, predicted in pairs]


@pytest.mark.parametrize("trainer", ["axolotl", "unsloth"])
def test_the_targets_hold_for_the_blind_cases_too(trainer: str) -> None:
    allocated, device = errors(trainer, "allocated"), errors(trainer, "device")
    assert len(allocated) >= 17
    assert sum(map(abs, allocated)) / len(allocated) <= 0.025
    assert max(map(abs, allocated)) <= 0.06
    assert sum(map(abs, device)) / len(device) <= 0.03
    assert max(map(abs, device)) <= 0.08
    assert min(device) >= -0.03


def test_nothing_that_ran_out_is_called_fitting() -> None:
    capped = {name: raw for name, raw in RESULTS.items() if raw["shape"].get("expected")}
    assert {"out_of_memory" in raw for raw in capped.values()} == {True, False}
    assert not [name for name, raw in capped.items() if "out_of_memory" in raw and since.called_fitting(raw)]
    assert any(since.called_fitting(raw) for raw in capped.values())


def test_the_model_of_today_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike the blind test itself, which compares with the committed file."""
    raw = next(raw for name, raw in PLAIN.items() if "qwen3-8b" in name)
    now = since.residuals(raw)["allocated"][1]
    monkeypatch.setattr("launcher.sizing.activations.norms_queries_and_keys", lambda model: False)
    assert since.residuals(raw)["allocated"][1] < now


def test_no_measurement_makes_no_section() -> None:
    assert since.section({}) == ""
