"""What a plan will need: memory, and time and money where the card's rates are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import (
    MemoryEstimate,
    MemoryRequest,
    RowLengths,
    estimate_memory,
    row_lengths,
    useful_tokens_per_second,
)
from launcher.sizing.lengths import PACKED_FILL
from launcher.sizing.request import Correction
from launcher.sizing.throughput import batch_tokens
from launcher.trainers import get_trainer


def memory_request(values: Mapping[str, Any], request: Request) -> MemoryRequest:
    """The sizing question for a plan's ``values``; batch and checkpointing may still be missing: the solver tries."""
    return MemoryRequest(
        model=request.model,
        trainer=get_trainer(values["backend"]).terms,
        method=values["method"],
        sequence_len=values["sequence_len"],
        micro_batch_size=values.get("micro_batch_size") or 1,
        eval_batch_size=values.get("eval_batch_size") or 1,
        lora_r=values["lora_r"],
        # A path (self_attn.q_proj) is sized by its end; one of a single layer (layers.0.…) as if it were of all.
        lora_target_modules=tuple(dict.fromkeys(name.rpartition(".")[2] for name in values["lora_target_modules"])),
        double_quant=values["double_quant"],
        optimizer=values["optimizer"],
        gradient_checkpointing=values.get("gradient_checkpointing", True),
        activation_offload=values.get("activation_offload", False),
        attn_implementation=values["attn_implementation"],
        kernels=tuple(values["kernels"]),
        compute_dtype=values["compute_dtype"],
        on_cpu=request.gpu.kind == "cpu",
        usable_gib=request.gpu.usable_gib,
        packing=values.get("packing", False),
        lora_dropout=values["lora_dropout"],
        prequantized=request.model.stored is not None,
        correction=_correction(request, values["backend"]),
    )


def _correction(request: Request, backend: str) -> Correction:
    found = request.corrections.get(backend)
    return found.memory if found else Correction()


def estimate_values_memory(values: Mapping[str, Any], request: Request) -> MemoryEstimate:
    """Peak memory of a plan's ``values``, in GiB; evaluation's is 0 where no rows are evaluated."""
    found = estimate_memory(memory_request(values, request))
    return found if evaluates(values, request) else without_evaluation(found)


def estimate_plan_memory(plan: Plan, request: Request) -> MemoryEstimate:
    """Peak memory of ``plan``, in GiB."""
    return estimate_values_memory(plan.to_dict(), request)


def estimate_equal_rows_memory(plan: Plan, request: Request) -> MemoryEstimate:
    """Peak memory of ``plan``, in GiB, on rows of full length alone: no batch of them needs an attention mask."""
    return estimate_memory(replace(memory_request(plan.to_dict(), request), equal_rows=True))


def evaluates(values: Mapping[str, Any], request: Request) -> bool:
    """Whether rows are held out for an evaluation loss."""
    return values["eval_fraction"] > 0 and not (request.data and request.data.eval_rows == 0)


def without_evaluation(memory: MemoryEstimate) -> MemoryEstimate:
    """The estimate of a run that never evaluates."""
    return replace(memory, evaluation_gib=0.0, evaluation_allocated_gib=0.0)


def plan_speed(plan: Plan, request: Request) -> float | None:
    """Tokens of rows per second that ``plan`` trains, padding not counted; None: the card's rates are not known."""
    return values_speed(plan.to_dict(), request)


def values_speed(values: Mapping[str, Any], request: Request) -> float | None:
    """The same for a plan's ``values``."""
    lengths = known_lengths(request, values["excess_length"])
    found = useful_tokens_per_second(memory_request(values, request), request.gpu, lengths)
    correction = request.corrections.get(values["backend"])
    return found * correction.speed if found is not None and correction else found


def padding_share(plan: Plan, request: Request) -> float | None:
    """Share of the computed tokens that are padding; None without data."""
    lengths = _lengths(plan, request)
    if lengths is None:
        return None
    computed, useful, _ = batch_tokens(memory_request(plan.to_dict(), request), lengths)
    return 1 - useful / computed


def rows_per_step(plan: Plan, request: Request) -> float:
    """Rows of the data in one optimizer step: more than sequences, where rows are packed."""
    lengths = _lengths(plan, request)
    sequences = float(plan.effective_batch_size)
    if not plan.packing or lengths is None:
        return sequences
    return sequences * rows_per_pack(lengths, plan.sequence_len)


def tokens_per_step(plan: Plan, request: Request) -> float:
    """Tokens of rows in one optimizer step; without data every row is as long as it may be."""
    lengths = _lengths(plan, request)
    mean = float(plan.sequence_len) if lengths is None else lengths.mean(plan.sequence_len)
    return rows_per_step(plan, request) * mean


def rows_per_pack(lengths: RowLengths, sequence_len: int) -> float:
    """Rows that one packed sequence holds."""
    return sequence_len * PACKED_FILL / lengths.mean(sequence_len)


def known_lengths(request: Request, excess_length: str) -> RowLengths | None:
    """The lengths of the rows of a request; None without data."""
    return row_lengths(request.data, excess_length) if request.data and request.data.rows else None


def _lengths(plan: Plan, request: Request) -> RowLengths | None:
    return known_lengths(request, plan.excess_length)
