"""The calibrations of a card's own presets: what is run, and what the page makes of it. No GPU, no trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import list_gpus, load_gpu, load_preset
from load_script import load_script

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "presets"

calibrate, calibrations = load_script(FOLDER / "calibrate.py"), load_script(FOLDER / "calibrations.py")


@pytest.mark.parametrize("gpu", [name for name in list_gpus() if not load_gpu(name).is_budget])
def test_only_presets_of_the_card_are_run(gpu: str) -> None:
    found = calibrate.cases(gpu)
    assert found == sorted(set(found), key=found.index)
    assert found
    assert {load_preset(preset).gpu for preset, _ in found} == {gpu}


@pytest.fixture
def committed() -> Any:
    return json.loads((FOLDER / "results" / "calibrate.json").read_text())


def test_a_case_that_did_not_end_is_no_row(committed: Any) -> None:
    page = calibrations.calibration_section(committed)
    first = committed["cases"][0]
    cut = {**committed, "cases": [*committed["cases"], {"preset": "h100-8b", "calibration": {"error": "not done"}}]}
    assert calibrations.calibration_section(cut) == page
    assert f"| {first['preset']} |" in page
    assert calibrations.calibration_section({}) == "Not run."
    assert calibrations.speed_errors({}) == "Not measured."


def test_errors_are_those_of_the_figures(committed: Any) -> None:
    one = committed["cases"][0]
    facts = one["calibration"]["facts"]
    today = calibrations.predicted(one["preset"], facts["plan"]["backend"])
    speeds = {"tokens_per_second": today["tokens_per_second"] / 1.25}
    memory = {"reserved_gib": today["reserved_gib"] / 0.5, "device_gib": None}
    changed = {**one, "calibration": {**one["calibration"], "facts": {**facts, "measured": {**speeds, **memory}}}}
    page = calibrations.calibration_section({**committed, "cases": [changed]})
    assert "(+25.0%)" in page
    assert "(-50.0%)" in page
    assert page.endswith("over 1 presets: reserved, GiB 50.0%; tokens/s 25.0%.")
    assert "25.0%, from +25.0% to +25.0%" in calibrations.speed_errors({**committed, "cases": [changed]})


def test_the_model_holds_on_a_card_that_it_was_not_fitted_to(committed: Any) -> None:
    """Within the targets of the memory model, and a tenth of the speed."""
    assert committed["gpu"] != "h200"
    for case in calibrations.ended_cases(committed):
        facts = case["calibration"]["facts"]
        today = calibrations.predicted(case["preset"], facts["plan"]["backend"])
        assert today["device_gib"] == pytest.approx(facts["measured"]["device_gib"], rel=0.05)
        assert today["device_gib"] > facts["measured"]["device_gib"] * 0.97
        assert today["tokens_per_second"] == pytest.approx(facts["measured"]["tokens_per_second"], rel=0.1)
