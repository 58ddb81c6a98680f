"""How far a plan can go, what changes it most, and what the other method would be."""

from __future__ import annotations

import pytest

from launcher.planning.advice import Side, both_methods, changes, limits
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory, plan_speed
from launcher.preparing.request import make_request


@pytest.mark.parametrize("preset", ["a10g-7b", "a10g-13b", "4090-32b", "a100-48gb-70b", "h100-8b"])
def test_the_limits_fit_and_one_more_does_not(preset: str) -> None:
    request = make_request(preset=preset)
    plan = make_plan(request)
    far = limits(plan, request)
    mode = {
        "gradient_checkpointing": plan.gradient_checkpointing,
        "activation_offload": plan.activation_offload,
        "eval_batch_size": plan.eval_batch_size,
        "kernels": list(plan.kernels),
    }

    def fits(**settings: object) -> bool:
        asked = make_request(preset=preset, settings=mode | {"effective_batch_size": 1} | settings)
        return estimate_plan_memory(make_plan(asked), asked).fits

    rows = far.micro_batch_size
    assert rows >= plan.micro_batch_size
    assert fits(micro_batch_size=rows, effective_batch_size=rows)
    assert not fits(micro_batch_size=rows + 1, effective_batch_size=rows + 1)
    assert far.sequence_len_one_row >= far.sequence_len >= plan.sequence_len
    longest = far.sequence_len_one_row
    assert fits(micro_batch_size=1, sequence_len=longest, eval_batch_size=1)
    assert longest == far.model_reads or not fits(micro_batch_size=1, sequence_len=longest + 8, eval_batch_size=1)


def test_changes_come_largest_first_and_say_what_they_do() -> None:
    request = make_request(preset="a10g-7b")
    plan = make_plan(request)
    found = changes(plan, request)
    named = {change.setting for change in found}
    assert named >= {"micro_batch_size", "sequence_len", "gradient_checkpointing", "method"}
    sizes = [abs(change.delta_gib) for change in found]
    assert sizes == sorted(sizes, reverse=True)
    base = estimate_plan_memory(plan, request).needed_gib
    for change in found:
        assert change.peak_gib == pytest.approx(base + change.delta_gib)
        asked = {change.setting: change.after}
        if change.setting in ("micro_batch_size", "sequence_len") and change.after > change.before:
            assert change.delta_gib > 0, asked


def test_a_change_that_the_trainer_refuses_is_not_offered() -> None:
    request = make_request(preset="a10g-7b", backend="unsloth")
    assert all(change.setting != "kernels" for change in changes(make_plan(request), request))
    cpu = make_request(preset="cpu-tiny")
    assert all(change.setting != "activation_offload" for change in changes(make_plan(cpu), cpu))


def test_both_methods_are_planned_for_themselves() -> None:
    request = make_request(preset="a10g-13b")
    plan = make_plan(request)
    here = Side(plan.method, plan, estimate_plan_memory(plan, request), plan_speed(plan, request))
    qlora, lora = both_methods(request, here)
    assert (qlora.method, lora.method) == ("qlora", "lora")
    assert qlora.memory is not None
    assert lora.memory is not None
    assert qlora.memory.fits
    assert not lora.memory.fits
    assert qlora.plan is not None
    assert qlora.plan.quant_type == "nf4"
