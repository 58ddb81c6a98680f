"""A calibration's arithmetic: what is measured becomes a correction that brings the prediction to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.catalog import load_gpu
from launcher.errors import BadInput, RunFailed
from launcher.planning.corrections import MachineCorrection
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_equal_rows_memory, estimate_plan_memory
from launcher.preparing.request import make_request
from launcher.records.codec import decode
from launcher.records.environment import Environment
from launcher.records.run import Training
from launcher.runs import calibrate as module
from launcher.runs.calibrate import STEPS, calibrate, card_of_this_machine
from launcher.sizing.memory import CUDA_CONTEXT_GIB

A10G = {"index": 0, "name": "NVIDIA A10G", "compute_capability": "8.6", "total_gib": 22.06, "free_gib": 21.6}


def environment(*devices: dict[str, Any]) -> Environment:
    return decode(Environment, {"devices": list(devices), "versions": {}, "executable": "python"})


def silent(_event: dict[str, Any]) -> None: ...


def test_the_card_is_this_machines_own() -> None:
    assert card_of_this_machine(environment()).name == "cpu"
    assert card_of_this_machine(environment(A10G)).name == "a10g"
    with pytest.raises(BadInput, match="no card of the catalog"):
        card_of_this_machine(environment({**A10G, "name": "NVIDIA B300"}))


def test_a_plan_for_another_card_is_refused() -> None:
    with pytest.raises(BadInput, match="this machine has NVIDIA A10G"):
        calibrate(make_request(preset="h100-7b"), environment(A10G), "python", silent)


def test_a_temporary_folder_in_which_axolotl_finds_no_rows_is_said_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "exp [1]"
    odd.mkdir()
    monkeypatch.setattr(module.tempfile, "tempdir", str(odd))
    with pytest.raises(RunFailed, match=r"'\[1\]' in the path") as refused:
        calibrate(make_request(preset="cpu-tiny", backend="axolotl"), environment(), "python", silent)
    assert "TMPDIR" in str(refused.value)
    assert list(odd.iterdir()) == []


def test_the_shortened_plan_has_the_same_shape_and_few_steps() -> None:
    request = make_request(preset="a10g-7b")
    plan = make_plan(request)
    short = make_plan(module._short(plan, request))
    for key in (
        "micro_batch_size",
        "sequence_len",
        "gradient_checkpointing",
        "activation_offload",
        "kernels",
        "packing",
    ):
        assert getattr(short, key) == getattr(plan, key)
    assert short.max_steps == STEPS
    assert short.gradient_accumulation_steps <= 2
    assert short.eval_fraction == 0


@pytest.mark.parametrize("rank", [16, 128])  # of the one no state is paged, of the other most of it
@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
@given(off=st.floats(min_value=-0.8, max_value=1.5), context=st.floats(min_value=0.2, max_value=2.0))
@settings(max_examples=30)
def test_the_memory_correction_brings_the_prediction_to_what_was_measured(
    rank: int, backend: str, off: float, context: float
) -> None:
    fixed = {"micro_batch_size": 4, "gradient_checkpointing": True, "lora_r": rank}
    request = replace(make_request(preset="a10g-7b", backend=backend, settings=fixed), corrections={})
    plan = make_plan(request)
    predicted = estimate_equal_rows_memory(plan, request)
    paged = predicted.peak_gib - predicted.reserved_gib - predicted.breakdown_gib["cuda_context"]
    reserved = predicted.reserved_gib + off
    outcome = Training(steps=6, peak_memory_gib=reserved, device_gib=reserved + paged + context)
    found = module._memory_correction(plan, request, predicted, outcome, alone=True)
    machine = MachineCorrection(found, 1.0, "A10G", plan.model, "2026-01-01", {})
    after = estimate_equal_rows_memory(plan, replace(request, corrections={backend: machine}))
    assert after.reserved_gib == pytest.approx(reserved, abs=1e-3)
    assert after.peak_gib == pytest.approx(reserved + paged + context, abs=2e-3)
    assert found.context_gib == pytest.approx(context, abs=1e-3)
    assert module._memory_correction(plan, request, predicted, outcome, alone=False).context_gib is None


def test_a_ratio_beyond_what_is_plausible_is_its_bound() -> None:
    request = replace(make_request(preset="a10g-7b"), corrections={})
    plan = make_plan(request)
    predicted = estimate_equal_rows_memory(plan, request)
    for measured, bound in ((0.1, 0.2), (500.0, 5.0)):
        outcome = Training(steps=6, peak_memory_gib=measured, device_gib=None)
        assert module._memory_correction(plan, request, predicted, outcome, alone=True).activations == bound


def test_what_offloading_takes_is_no_part_of_the_context_that_is_kept() -> None:
    """Every estimate with offloading adds it again."""
    request = make_request(preset="a10g-7b", settings={"gradient_checkpointing": True, "activation_offload": True})
    plan = make_plan(request)
    predicted = estimate_equal_rows_memory(plan, request)
    outcome = Training(steps=6, peak_memory_gib=predicted.reserved_gib, device_gib=predicted.peak_gib)
    found = module._memory_correction(plan, request, predicted, outcome, alone=True)
    assert found.context_gib == CUDA_CONTEXT_GIB


def test_full_rows_are_held_against_what_full_rows_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no attention mask: against the estimate for rows of any length they would seem to take less."""
    monkeypatch.setenv("QL_CALIBRATION", str(tmp_path / "calibration.json"))
    request = replace(make_request(preset="h100-7b"), corrections={})
    plan = make_plan(request)
    full, any_rows = estimate_equal_rows_memory(plan, request), estimate_plan_memory(plan, request)
    assert full.reserved_gib < any_rows.reserved_gib - 1
    outcome = Training(steps=6, peak_memory_gib=full.reserved_gib, device_gib=full.peak_gib, tokens_per_second=1e4)
    found = module._compare(SimpleNamespace(plan=plan), request, environment(A10G), outcome, [], ())
    assert found.correction.memory.activations == pytest.approx(1.0, abs=1e-3)
    assert found.before["reserved_gib"] == pytest.approx(full.reserved_gib, abs=1e-3)
    assert found.after["device_gib"] == pytest.approx(full.peak_gib, abs=0.05)
    assert [f"{any_rows.peak_gib:.0f}" in note for note in found.notes if "mask" in note] == [True]


def test_speed_is_measured_over_predicted_within_reason() -> None:
    assert module._speed_correction(1000.0, 800.0) == 0.8
    assert module._speed_correction(None, 800.0) == module._speed_correction(1000.0, None) == 1.0
    assert module._speed_correction(1.0, 1e9) == 5.0


def test_neighbours_on_the_card_are_noticed() -> None:
    assert module._alone(environment(A10G))
    assert not module._alone(environment({**A10G, "free_gib": 12.0}))
    assert module._alone(environment())


def test_rows_are_longer_than_the_sequence(tmp_path: Path) -> None:
    module._write_rows(tmp_path / "rows.jsonl", 4, 128, seed=1)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(lines) == STEPS * 4
    assert all(len(line.split()) > 128 for line in lines)


def test_nothing_is_kept_when_the_trainer_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QL_CALIBRATION", str(tmp_path / "calibration.json"))
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda **_: str(_made(tmp_path / "scratch")))
    request = replace(make_request(preset="cpu-tiny"), gpu=load_gpu("cpu"))
    with pytest.raises(Exception, match="axolotl is not installed"):
        calibrate(request, environment(), "python", silent)
    assert not (tmp_path / "scratch").exists()
    assert not (tmp_path / "calibration.json").exists()


def _made(path: Path) -> Path:
    path.mkdir()
    return path
