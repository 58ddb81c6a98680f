"""What would change a plan's memory most, how far it could go, and what the other method would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import (
    estimate_plan_memory,
    estimate_values_memory,
    evaluates,
    memory_request,
    plan_speed,
    without_evaluation,
)
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import MemoryEstimate, MemoryRequest, estimate_memory
from launcher.sizing.throughput import tokens_per_second
from launcher.trainers import get_trainer

MOST = 4096  # rows: no micro-batch larger than this is looked for

# Published: 13 pairs of LoRA and QLoRA fine-tunes by litgpt on one A10G, scored on MMLU and on held-out loss.
QUALITY_GAP = (
    "published (litgpt, 13 pairs): QLoRA's MMLU is 0.02 points below LoRA's on average (from 1.7 below to 2.0 above), "
    "its validation loss higher in all 13; benchmark suites cannot be run offline, so your golden set decides"
)


@dataclass(frozen=True)
class Change:
    """One setting changed, all others as planned: GiB more or less on the device, and the speed relative to before."""

    setting: str
    before: Any
    after: Any
    peak_gib: float
    delta_gib: float
    speed_ratio: float | None
    fits: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "setting": self.setting,
            "from": self.before,
            "to": self.after,
            "peak_gib": round(self.peak_gib, 2),
            "delta_gib": round(self.delta_gib, 2),
            "speed_ratio": None if self.speed_ratio is None else round(self.speed_ratio, 2),
            "fits": self.fits,
        }


def changes(plan: Plan, request: Request) -> list[Change]:
    """What single changes of setting do, the largest effect on memory first. Only those that the trainer can do."""
    values = plan.to_dict()
    wanted: list[tuple[str, Any]] = [
        ("micro_batch_size", plan.micro_batch_size * 2),
        ("micro_batch_size", plan.micro_batch_size // 2),
        ("sequence_len", min(plan.sequence_len * 2, request.model.max_position_embeddings)),
        ("sequence_len", plan.sequence_len // 2),
        ("gradient_checkpointing", not plan.gradient_checkpointing),
        ("activation_offload", not plan.activation_offload),
        ("lora_r", plan.lora_r * 4),
        *([] if request.model.stored else [("method", "lora" if plan.method == "qlora" else "qlora")]),
        *(("kernels", [k for k in plan.kernels if k != dropped]) for dropped in plan.kernels),
    ]
    base = _measure(values, request)
    found = []
    for setting, value in wanted:
        if (not value and setting in ("micro_batch_size", "sequence_len")) or values[setting] == value:
            continue
        changed = values | {setting: value}
        if setting == "gradient_checkpointing" and not value:
            changed["activation_offload"] = False
        if setting == "method":
            changed |= {"double_quant": value == "qlora", "optimizer": request.recipes[value].settings["optimizer"]}
        if get_trainer(plan.backend).refusals(_settings(changed), request.gpu, request.model.stored):
            continue
        memory, speed = _measure(changed, request)
        ratio = speed / base[1] if speed and base[1] else None
        delta = memory.needed_gib - base[0].needed_gib
        found.append(Change(setting, values[setting], value, memory.needed_gib, delta, ratio, memory.fits))
    return sorted(found, key=lambda change: -abs(change.delta_gib))


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _measure(values: dict[str, Any], request: Request) -> tuple[MemoryEstimate, float | None]:
    return estimate_values_memory(values, request), tokens_per_second(memory_request(values, request), request.gpu)


@dataclass(frozen=True)
class Limits:
    """How far the plan could go with everything else as it is; 0: not even the smallest fits."""

    micro_batch_size: int  # at the plan's sequence length
    sequence_len: int  # at the plan's micro-batch
    sequence_len_one_row: int  # at a micro-batch of 1
    model_reads: int  # tokens: longer sequences would fit, but the model does not read them

    def to_dict(self) -> dict[str, Any]:
        return {
            "largest_micro_batch_size": self.micro_batch_size,
            "longest_sequence_len": self.sequence_len,
            "longest_sequence_len_of_one_row": self.sequence_len_one_row,
        }


def limits(plan: Plan, request: Request) -> Limits:
    """The largest micro-batch and the longest sequence that fit, training and evaluation, in the planned mode."""
    job = memory_request(plan.to_dict(), request)
    reads = request.model.max_position_embeddings
    one = replace(job, micro_batch_size=1, eval_batch_size=1)

    def rows(count: int) -> MemoryRequest:
        return replace(job, micro_batch_size=count, eval_batch_size=min(count, job.eval_batch_size))

    def fits(asked: MemoryRequest) -> bool:
        memory = estimate_memory(asked)
        return memory.fits if evaluated else without_evaluation(memory).fits

    evaluated = evaluates(plan.to_dict(), request)
    return Limits(
        micro_batch_size=_largest(MOST, 1, lambda count: fits(rows(count))),
        sequence_len=_largest(reads, 8, lambda length: fits(replace(job, sequence_len=length))),
        sequence_len_one_row=_largest(reads, 8, lambda length: fits(replace(one, sequence_len=length))),
        model_reads=reads,
    )


def _largest(most: int, step: int, fits: Callable[[int], bool]) -> int:
    """The largest multiple of ``step`` up to ``most`` that fits, by bisection: memory grows with it."""
    low, high = 0, most // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle - 1)
    return low * step


@dataclass(frozen=True)
class Side:
    """One method on the card of a request, planned for itself; or why it cannot be planned."""

    method: str
    plan: Plan | None
    memory: MemoryEstimate | None
    tokens_per_second: float | None
    refused: str | None = None

    @property
    def fits(self) -> bool:
        return self.memory is not None and self.memory.fits

    @property
    def sequence_len(self) -> int:
        return 0 if self.plan is None else self.plan.sequence_len


def both_methods(request: Request, planned: Side) -> list[Side]:
    """QLoRA and LoRA, each planned for this card with what the person fixed; one of them is ``planned`` already."""
    found = []
    for method in ("qlora", "lora"):
        if method == planned.method:
            found.append(planned)
            continue
        overrides = {**request.overrides, "method": method}
        asked = replace(request, auto_method=False, overrides=overrides)
        try:
            plan = make_plan(asked)
        except BadInput as error:
            found.append(Side(method, None, None, None, error.problems[0].message))
            continue
        found.append(Side(method, plan, estimate_plan_memory(plan, asked), plan_speed(plan, asked)))
    return found


def recommend(qlora: Side, lora: Side) -> str:
    """Which method, by the house rule: 16-bit LoRA where it fits, QLoRA where it would not."""
    if lora.fits and not (qlora.fits and lora.sequence_len < qlora.sequence_len):
        return "house rule: LoRA, since its 16-bit weights fit this card (`--method auto` decides so)"
    if lora.fits:
        cut = f"rows cut at {lora.sequence_len} tokens, and QLoRA keeps {qlora.sequence_len}"
        return f"house rule: QLoRA, since LoRA's 16-bit weights fit only with {cut} (`--method auto` decides so)"
    if qlora.fits:
        return "house rule: QLoRA, since LoRA's 16-bit weights do not fit this card (`--method auto` decides so)"
    return "neither fits this card"
