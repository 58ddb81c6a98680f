"""Which measure follows which failure, in which order, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cli.options import repair_options
from launcher.processes.faults import CAUSES, TrainerFailed
from launcher.records.codec import decode, encode
from launcher.records.run import Repair, RepairPolicy
from launcher.runs.training.repairs import REPAIRS, RepairStep, choose, likely_cause, watched

PLAN: dict[str, Any] = {
    "micro_batch_size": 4, "gradient_accumulation_steps": 4,
    "gradient_checkpointing": False, "activation_offload": False,
    "eval_batch_size": 4, "sequence_len": 1024, "compute_dtype": "float16", "learning_rate": 2e-4, "packing": False,
    "attn_implementation": "sdpa", "on_cpu": False,
}  # fmt: skip


def measure(
    kind: str,
    plan: dict[str, Any] | None = None,
    policy: RepairPolicy | None = None,
    bfloat16: bool = True,
    **more: Any,
) -> RepairStep | None:
    failure = TrainerFailed("x", kind=kind, step=more.pop("step", 10), evidence=more.pop("evidence", {"steps": 2}))
    return choose(failure, plan or PLAN, policy or RepairPolicy(), has_bfloat16=bfloat16, **more)


def repair(after: dict[str, Any]) -> Repair:
    return Repair(time="", stage="train", kind="", cause="", action="", after=after)


def ladder(plan: dict[str, Any], policy: RepairPolicy) -> list[dict[str, Any]]:
    """All measures against one training that never fits."""
    steps = []
    while (repair := measure("oom_train", plan, policy)) is not None:
        assert repair.before == {key: plan[key] for key in repair.after}
        plan = plan | repair.after
        steps.append(repair.after)
    return steps


def test_out_of_memory_in_training_has_a_stated_order_and_an_end() -> None:
    assert ladder(PLAN, RepairPolicy()) == [
        {"micro_batch_size": 2, "gradient_accumulation_steps": 8},
        {"micro_batch_size": 1, "gradient_accumulation_steps": 16},
        {"gradient_checkpointing": True},
        {"activation_offload": True},
        {"eval_batch_size": 1},
    ]
    shorter = ladder(PLAN, RepairPolicy(allow_shorter=True))[5:]
    assert shorter == [{"sequence_len": 512}, {"sequence_len": 256}, {"sequence_len": 128}]


def test_nothing_is_offloaded_on_a_cpu() -> None:
    assert {"activation_offload": True} not in ladder(PLAN | {"on_cpu": True}, RepairPolicy())


@given(micro=st.integers(1, 64), accumulation=st.integers(1, 64))
def test_the_effective_batch_stays(micro: int, accumulation: int) -> None:
    plan = PLAN | {"micro_batch_size": micro, "gradient_accumulation_steps": accumulation}
    for after in ladder(plan, RepairPolicy()):
        if "micro_batch_size" in after:
            assert after["micro_batch_size"] * after["gradient_accumulation_steps"] == micro * accumulation
            assert after["micro_batch_size"] <= plan["micro_batch_size"] / 2
            plan = plan | after
    assert plan["micro_batch_size"] == 1


def test_out_of_memory_in_an_evaluation_leaves_the_training_alone() -> None:
    repair = measure("oom_eval")
    assert repair is not None
    assert repair.after == {"eval_batch_size": 2}
    assert measure("oom_eval", PLAN | {"eval_batch_size": 1}) is None


def test_an_overflow_goes_back_in_bfloat16_then_slower_then_ends() -> None:
    first = measure("fp16_overflow")
    assert first is not None
    assert (first.after, first.upto) == ({"compute_dtype": "bfloat16"}, 8)  # before the first of two bad steps
    plan = PLAN | first.after
    second = measure("nonfinite_loss", plan, recorded=[repair(first.after)])
    assert second is not None
    assert second.after == {"learning_rate": 1e-4}
    assert measure("nonfinite_loss", plan | second.after, recorded=[repair(second.after)]) is None


@pytest.mark.parametrize(("stored", "kept"), [(None, True), ("bfloat16", True), ("float16", False)])
def test_bfloat16_on_a_base_stored_from_float16_goes_without_the_lora_kernels(stored: str | None, kept: bool) -> None:
    repair = measure("fp16_overflow", PLAN | {"kernels": ["lora", "liger"]}, stored_dtype=stored)
    assert repair is not None
    assert repair.after == {"compute_dtype": "bfloat16"} | ({} if kept else {"kernels": ["liger"]})
    assert ("LoRA kernels" in repair.action) is not kept


def test_without_bfloat16_the_learning_rate_comes_first() -> None:
    repair = measure("fp16_overflow", bfloat16=False, evidence={"steps": 10})
    assert repair is not None
    assert (repair.after, repair.upto) == ({"learning_rate": 1e-4}, 0)


@pytest.mark.parametrize("kind", ["stall", "exit"])
def test_a_restart_happens_once(kind: str) -> None:
    repair = measure(kind)
    assert repair is not None
    assert repair.after == {}
    assert measure(kind, restarts=[kind]) is None


@pytest.mark.parametrize("kind", ["divergence", "zero_loss", "zero_gradients", "labels_masked", "broken", "disk_full"])
def test_what_no_measure_helps_ends_at_once(kind: str) -> None:
    assert measure(kind) is None


def test_each_can_be_switched_off_and_the_command_line_knows_each() -> None:
    for name, kinds in REPAIRS.items():
        policy = RepairPolicy(off=frozenset({name}))
        assert decode(RepairPolicy, encode(policy)) == policy
        for kind in kinds:
            assert measure(kind, policy=policy) is None
            assert kind not in watched(policy)
    assert watched(RepairPolicy()) == frozenset(CAUSES)
    options = repair_options(lambda: None).__click_params__  # type: ignore[attr-defined]
    choices = next(option.type.choices for option in options if option.name == "no_repair")
    assert set(choices) == set(REPAIRS)


def test_likely_causes_name_what_to_look_at() -> None:
    packed = PLAN | {"packing": True}
    assert "9.0" in str(likely_cause("zero_loss", packed, 8.6))
    assert "9.0" not in str(likely_cause("zero_loss", packed, 9.0))
    assert "template" in str(likely_cause("labels_masked", PLAN, None))
    assert "learning rate" in str(likely_cause("divergence", PLAN, None))
    assert all(likely_cause(kind, PLAN, 8.0) for kind in CAUSES)
    assert likely_cause("exit", PLAN, 8.0) is None


def test_a_measure_that_the_trainer_cannot_say_is_passed_over() -> None:
    plan = PLAN | {"micro_batch_size": 1, "gradient_checkpointing": True, "eval_batch_size": 4}
    repair = measure("oom_train", plan, can_set=lambda setting: setting != "activation_offload")
    assert repair is not None
    assert repair.after == {"eval_batch_size": 1}
