"""What a plan will need: memory, and time and money where the card's rates are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import TRAINERS, MemoryEstimate, MemoryRequest, estimate_memory


def memory_request(values: Mapping[str, Any], request: Request) -> MemoryRequest:
    """The sizing question for a plan's ``values``; batch and checkpointing may still be missing: the solver tries."""
    return MemoryRequest(
        model=request.model,
        trainer=TRAINERS[values["backend"]],
        method=values["method"],
        sequence_len=values["sequence_len"],
        micro_batch_size=values.get("micro_batch_size") or 1,
        eval_batch_size=values.get("eval_batch_size") or 1,
        lora_r=values["lora_r"],
        lora_target_modules=tuple(values["lora_target_modules"]),
        double_quant=values["double_quant"],
        optimizer=values["optimizer"],
        gradient_checkpointing=values.get("gradient_checkpointing", True),
        activation_offload=values.get("activation_offload", False),
        attn_implementation=values["attn_implementation"],
        kernels=tuple(values["kernels"]),
        compute_dtype=values["compute_dtype"],
        on_cpu=request.gpu.kind == "cpu",
        usable_gib=request.gpu.usable_gib,
    )


def estimate_plan_memory(plan: Plan, request: Request) -> MemoryEstimate:
    """Peak memory of ``plan``, in GiB."""
    return estimate_memory(memory_request(plan.to_dict(), request))
