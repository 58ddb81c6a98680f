"""What the launcher does by itself about a training that ended badly: one measure at a time, each bounded.

Pure decisions: `launcher.runs.training.train` records and carries them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.catalog.capability import PACKED_SDPA_IN_BFLOAT16
from launcher.processes.faults import CAUSES, TrainerFailed
from launcher.records.run import Repair, RepairPolicy

# What can be switched off, and the kinds of failure that each stands for.
REPAIRS: dict[str, tuple[str, ...]] = {
    "oom-train": ("oom_train",),
    "oom-eval": ("oom_eval",),
    "overflow": ("fp16_overflow", "nonfinite_loss"),
    "divergence": ("divergence", "zero_loss", "zero_gradients", "labels_masked"),
    "stall": ("stall",),
    "exit": ("exit",),
    "trial": (),
}
LOWER = 0.5  # of the learning rate, once
SHORTEST = 128  # tokens; below it a shorter sequence length is no training any more
LENGTH_STEP = 64  # sequence lengths are multiples of this


def watched(policy: RepairPolicy) -> frozenset[str]:
    """The faults that end a training when they are seen."""
    return frozenset(kind for kind in CAUSES if allows(policy, kind))


def allows(policy: RepairPolicy, kind: str) -> bool:
    """Whether the person allows what is done against that kind of failure."""
    return not any(kind in kinds for name, kinds in REPAIRS.items() if name in policy.off)


@dataclass(frozen=True)
class RepairStep:
    """One measure: settings as they were and as they are to be, in words too.

    ``upto`` is the last optimizer step whose checkpoint may be gone on from; None for the newest.
    """

    action: str
    before: dict[str, object]
    after: dict[str, object]
    upto: int | None = None


def choose(
    failure: TrainerFailed,
    plan: Mapping[str, object],
    policy: RepairPolicy,
    *,
    has_bfloat16: bool,
    stored_dtype: str | None = None,
    recorded: Sequence[Repair] = (),
    restarts: Sequence[str] = (),
    can_set: Callable[[str], bool] = lambda setting: True,
) -> RepairStep | None:
    """The next measure against ``failure``; None when there is none left, or it is switched off.

    ``plan`` has the settings as they are, ``recorded`` the repairs of the run so far, ``restarts`` the kinds of failure
    that this process has already answered with a restart. ``stored_dtype`` is that of a base in 4 bit on disk.
    ``can_set`` tells which settings the trainer's config can say.
    """
    if not allows(policy, failure.kind):
        return None
    match failure.kind:
        case "oom_train":
            return _less_memory(plan, policy, can_set)
        case "oom_eval":
            return _smaller_evaluation(plan)
        case "fp16_overflow" | "nonfinite_loss":
            return _against_overflow(failure, plan, has_bfloat16, stored_dtype, recorded)
        case "stall" | "exit":
            return (
                None if failure.kind in restarts else RepairStep("started again from the last checkpoint, once", {}, {})
            )
    return None


def _less_memory(plan: Mapping[str, Any], policy: RepairPolicy, can_set: Callable[[str], bool]) -> RepairStep | None:
    """The measures in their order; each leaves what is learned from as it is, until the last, which needs consent."""
    micro = plan["micro_batch_size"]
    if micro > 1:
        rows = micro * plan["gradient_accumulation_steps"]
        smaller = next(size for size in range(micro // 2, 0, -1) if rows % size == 0)
        return _change(
            plan,
            f"micro-batch {micro} to {smaller}, accumulation {plan['gradient_accumulation_steps']} to "
            f"{rows // smaller}: still {rows} rows a step",
            micro_batch_size=smaller,
            gradient_accumulation_steps=rows // smaller,
        )
    if not plan["gradient_checkpointing"]:
        return _change(plan, "gradient checkpointing on: slower, far fewer activations", gradient_checkpointing=True)
    if not plan["activation_offload"] and not plan.get("on_cpu") and can_set("activation_offload"):
        return _change(plan, "checkpointed activations moved to host memory: slower", activation_offload=True)
    if plan["eval_batch_size"] > 1:
        return _change(plan, f"evaluation batch {plan['eval_batch_size']} to 1", eval_batch_size=1)
    shorter = plan["sequence_len"] // 2 // LENGTH_STEP * LENGTH_STEP
    if policy.allow_shorter and shorter >= SHORTEST:
        return _change(
            plan,
            f"sequence length {plan['sequence_len']} to {shorter}, as --allow-shorter lets us",
            sequence_len=shorter,
        )
    return None


def _smaller_evaluation(plan: Mapping[str, Any]) -> RepairStep | None:
    size = plan["eval_batch_size"]
    if size <= 1:
        return None
    return _change(plan, f"evaluation batch {size} to {size // 2}; training is as it was", eval_batch_size=size // 2)


def _against_overflow(
    failure: TrainerFailed,
    plan: Mapping[str, Any],
    has_bfloat16: bool,
    stored_dtype: str | None,
    recorded: Sequence[Repair],
) -> RepairStep | None:
    bad = failure.evidence.get("steps")
    upto = None if failure.step is None else max(0, failure.step - (bad if isinstance(bad, int) else 1))
    if plan["compute_dtype"] == "float16" and has_bfloat16:
        action = (
            f"back to the last good checkpoint, at most step {upto}, and on in bfloat16; the loss scaler is dropped"
        )
        after: dict[str, object] = {"compute_dtype": "bfloat16"}
        kernels = plan.get("kernels") or ()
        if "lora" in kernels and stored_dtype not in (None, "bfloat16"):
            action += f"; without the LoRA kernels, which fail in it on a base stored from {stored_dtype}"
            after["kernels"] = [kernel for kernel in kernels if kernel != "lora"]
        return _change(plan, action, upto=upto, **after)
    if any("learning_rate" in (record.after or {}) for record in recorded):
        return None
    rate = plan["learning_rate"] * LOWER
    action = f"back to the last good checkpoint, at most step {upto}, and on with a learning rate of {rate:g}"
    return _change(plan, action, upto=upto, learning_rate=rate)


def _change(plan: Mapping[str, object], action: str, *, upto: int | None = None, **after: Any) -> RepairStep:
    return RepairStep(action, {key: plan[key] for key in after}, after, upto)


def likely_cause(kind: str, plan: Mapping[str, object], capability: float | None) -> str | None:
    """What a person should look at first, for a fault that no repair helps against."""
    template = "`ql check DATA --show 3` marks what is trained"
    match kind:
        case "labels_masked":
            return f"no token is trained: a wrong chat template, or rows cut before the answer; {template}"
        case "zero_loss" | "zero_gradients":
            packed = plan.get("packing") and plan.get("attn_implementation") == "sdpa"
            if packed and capability is not None and capability < PACKED_SDPA_IN_BFLOAT16:
                return "packed rows with SDPA below compute capability 9.0: --set packing=false, or flash_attention_2"
            return f"masked labels, or a template that does not fit the model; {template}"
        case "divergence" | "nonfinite_loss":
            return f"a learning rate that is too high ({plan.get('learning_rate')}), or broken rows: `ql check DATA`"
        case "fp16_overflow":
            return (
                "this model does not train in float16 at this learning rate: --compute-dtype bfloat16 on a card with it"
            )
    return None
