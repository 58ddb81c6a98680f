"""What a calibration stores, estimates use and say; a broken file is an error, never ignored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import load_gpu
from launcher.errors import Unreadable
from launcher.planning.corrections import MachineCorrection
from launcher.planning.decide import make_plan
from launcher.planning.estimate import plan_speed
from launcher.planning.forecast import plan_and_forecast
from launcher.preparing.calibrations import corrections_for, forget_corrections, store_correction
from launcher.preparing.request import make_request
from launcher.sizing import Correction

FOUND = MachineCorrection(Correction(1.5, 1.25), 0.5, "NVIDIA A10G", "mistral-7b", "2026-11-24", {"torch": "2.11"})


@pytest.fixture
def calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "calibration.json"
    monkeypatch.setenv("QL_CALIBRATION", str(path))
    return path


def test_a_correction_comes_back_for_its_card_and_trainer_alone(calibration: Path) -> None:
    card = load_gpu("a10g")
    assert corrections_for(card) == {}
    assert store_correction(card, "axolotl", FOUND) == calibration
    assert corrections_for(card) == {"axolotl": FOUND}
    assert corrections_for(load_gpu("l4")) == {}
    assert forget_corrections(load_gpu("l4")) == 0
    assert forget_corrections(card) == 1
    assert corrections_for(card) == {}


def test_estimates_use_it_and_say_so(calibration: Path) -> None:
    fixed = {"micro_batch_size": 2, "gradient_checkpointing": True, "activation_offload": False}
    plain = make_request(preset="a10g-7b", settings=fixed)
    store_correction(load_gpu("a10g"), "axolotl", FOUND)
    corrected = make_request(preset="a10g-7b", settings=fixed)
    plan = make_plan(plain)
    before, after = plan_speed(plan, plain), plan_speed(plan, corrected)
    assert before is not None
    assert after == pytest.approx(before * 0.5)
    assert any("corrected by a calibration on NVIDIA A10G" in note for note in plan_and_forecast(corrected).notes)
    assert not any("calibration" in note for note in plan_and_forecast(plain).notes)
    other = make_request(preset="a10g-7b", backend="unsloth")
    assert not any("calibration" in note for note in plan_and_forecast(other).notes)


def with_memory(memory: dict[str, Any]) -> str:
    entry = {"memory": memory, "speed": 1, "device": "x", "model": "y", "date": "z", "versions": {}}
    return json.dumps({"version": 2, "corrections": {"a10g/axolotl": entry}})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 1, "corrections": {}}',
        json.dumps({"version": 2, "corrections": {"a10g/axolotl": {"speed": 1}}}),
        with_memory({"activations": 900, "context_gib": 1}),
        with_memory({"activations": "1.5", "context_gib": 1}),
        with_memory({"activations": 1.5, "context_gib": "1"}),
        with_memory({"activations": 1.5, "context_gib": 1}).replace('"x"', "7"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(calibration: Path, text: str) -> None:
    calibration.parent.mkdir()
    calibration.write_text(text)
    with pytest.raises(Unreadable, match=r"calibration\.json"):
        make_request(preset="a10g-7b")


def test_the_reasons_tell_the_speed_that_the_estimate_tells(calibration: Path) -> None:
    store_correction(load_gpu("a10g"), "axolotl", FOUND)
    found = plan_and_forecast(make_request(preset="a10g-7b"))
    assert found.tokens_per_second is not None
    told = " ".join(found.plan.reasons.values())
    assert f" {found.tokens_per_second:,.0f} tokens/s" in told


def test_a_budget_goes_by_the_card_that_it_is_held_on(calibration: Path) -> None:
    """Nobody can calibrate 48 GB of an A100: that is no card."""
    budget = load_gpu("a100-48gb")
    store_correction(load_gpu("a10g"), "axolotl", FOUND)
    assert corrections_for(budget) == {}
    other = replace(FOUND, device="NVIDIA RTX A6000")
    store_correction(load_gpu("a6000"), "axolotl", other)
    assert corrections_for(budget) == {"axolotl": replace(other, speed=1.0)}, (
        "an A6000 is slower than the budget's A100"
    )
    own = replace(FOUND, device="NVIDIA A100-SXM4-80GB", date="2026-11-26")
    store_correction(load_gpu("a100-80gb"), "axolotl", own)
    assert corrections_for(budget) == {"axolotl": own}, "the later one"
    assert any("NVIDIA A100-SXM4-80GB" in note for note in plan_and_forecast(make_request(preset="a100-48gb-7b")).notes)
    assert corrections_for(load_gpu("a6000")) == {"axolotl": other}
