"""What a run will need and cost: memory, speed, hours and USD, for one card or for all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.catalog import Gpu, Price
from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory, memory_request
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import Cost, MemoryEstimate, Workload, estimate_cost, tokens_per_second
from launcher.sizing.cost import padded_length
from launcher.sizing.throughput import CHECKED_CARDS
from launcher.trainers import TRAINERS


@dataclass(frozen=True)
class Forecast:
    """A plan with what it needs. ``tokens_per_second`` and ``cost`` are None where nothing is known to reckon with."""

    plan: Plan
    gpu: Gpu
    memory: MemoryEstimate
    tokens_per_second: float | None
    cost: Cost | None
    price: Price | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON-ready data; memory in GiB, money in USD."""
        plan, memory, cost = self.plan, self.memory, self.cost
        return {
            "preset": plan.preset,
            "gpu": plan.gpu,
            "model": plan.model,
            "base_model": plan.base_model,
            "compute_dtype": plan.compute_dtype,
            "method": plan.method,
            "backend": plan.backend,
            "micro_batch_size": plan.micro_batch_size,
            "gradient_accumulation_steps": plan.gradient_accumulation_steps,
            "eval_batch_size": plan.eval_batch_size,
            "sequence_len": plan.sequence_len,
            "vram": {
                "peak_gib": round(memory.peak_gib, 2),
                "allocated_gib": round(memory.allocated_gib, 2),
                "evaluation_gib": round(memory.evaluation_gib, 2),
                "usable_gib": self.gpu.usable_gib,
                "budget_gib": None if memory.budget_gib is None else round(memory.budget_gib, 2),
                "fits": memory.fits,
                "breakdown_gib": {name: round(value, 3) for name, value in memory.breakdown_gib.items()},
            },
            "host_gib": round(memory.host_gib, 2),
            "throughput": {
                "tokens_per_second": None if self.tokens_per_second is None else round(self.tokens_per_second)
            },
            "hours": None if cost is None else round(cost.hours, 3),
            "usd": None if cost is None or cost.usd is None else round(cost.usd, 2),
            "hours_by_part": None if cost is None else {part: round(h, 3) for part, h in cost.parts_hours.items()},
            "price": None
            if self.price is None
            else {"usd_per_hour": self.price.usd_per_hour, "source": self.price.source, "date": self.price.date},
            "assumptions": [] if cost is None else list(cost.assumptions),
            "notes": list(self.notes),
            "reasons": [
                {"field": key, "value": plan.to_dict()[key], "reason": reason} for key, reason in plan.reasons.items()
            ],
        }


def forecast(request: Request, *, usd_per_hour: float | None = None, golden_rows: int = 0) -> Forecast:
    """Plan ``request`` and reckon what it takes. ``usd_per_hour`` wins over the card's own price.

    Without data there are no hours, since nobody knows how much there is to train on. Raises BadInput as `make_plan`.
    """
    gpu = request.gpu
    plan = make_plan(request)
    price = Price(usd_per_hour, "given", "") if usd_per_hour is not None else next(iter(gpu.prices), None)
    job = memory_request(plan.to_dict(), request)
    workload = _workload(plan, request, golden_rows)
    if workload is not None:  # speed at the length that rows have, not at the longest that is allowed
        length = padded_length(workload, plan.micro_batch_size, plan.sequence_len)
        job = replace(job, sequence_len=plan.sequence_len if plan.packing else max(1, round(length)))
    speed = tokens_per_second(job, gpu)
    cost = None
    if workload is not None:
        cost = estimate_cost(
            workload,
            request.model,
            tokens_per_second=speed,
            micro_batch_size=plan.micro_batch_size,
            effective_batch_size=plan.effective_batch_size,
            sequence_len=plan.sequence_len,
            gradient_checkpointing=plan.gradient_checkpointing,
            usd_per_hour=None if price is None else price.usd_per_hour,
            download=not plan.base_model.startswith(("/", ".", "~")),
        )
    return Forecast(
        plan=plan,
        gpu=gpu,
        memory=estimate_plan_memory(plan, request),
        tokens_per_second=speed,
        cost=cost,
        price=price,
        notes=_notes(request, speed, workload, price),
    )


def best_backend(request: Request, **options: Any) -> Forecast:
    """The forecast of the trainer that fits and is fastest; where none fits, of the one that comes nearest.

    Raises BadInput when no trainer can take the plan.
    """
    found: list[Forecast] = []
    errors: list[BadInput] = []
    for name in TRAINERS:
        try:
            found.append(forecast(replace(request, overrides={**request.overrides, "backend": name}), **options))
        except BadInput as error:
            errors.append(error)
    if not found:
        raise BadInput([problem for error in errors for problem in error.problems])
    best = max(found, key=lambda one: (one.memory.fits, one.tokens_per_second or 0.0, -one.memory.needed_gib))
    others = [one for one in found if one is not best]
    told = "; ".join(f"{one.plan.backend}: {_summary(one)}" for one in others)
    reason = f"auto: fits and is fastest ({_summary(best)}; {told})" if others else "auto: the only one that can"
    reasons = {**best.plan.reasons, "backend": reason}
    return replace(best, plan=replace(best.plan, reasons=reasons))


def compare(request: Request, cards: Sequence[Gpu], *, auto_backend: bool = False, **options: Any) -> list[Forecast]:
    """The same job on each card, in their order; a card whose plan is refused is left out."""
    found = []
    for card in cards:
        # A preset is written for its own card, so only what the person set goes along.
        moved = replace(request, gpu=card, preset=None)
        try:
            found.append(best_backend(moved, **options) if auto_backend else forecast(moved, **options))
        except BadInput:
            continue
    return found


def _summary(one: Forecast) -> str:
    memory = f"{one.memory.needed_gib:.1f} GiB" + ("" if one.memory.fits else ", does not fit")
    return memory if one.tokens_per_second is None else f"{memory}, {one.tokens_per_second:,.0f} tokens/s"


def _workload(plan: Plan, request: Request, golden_rows: int) -> Workload | None:
    data = request.data
    if data is None or data.rows == 0:
        return None
    return Workload(
        train_rows=data.rows - data.eval_rows,
        eval_rows=data.eval_rows,
        tokens_mean=data.tokens_mean,
        tokens_p95=data.tokens_p95,
        num_epochs=plan.num_epochs,
        evals_per_epoch=plan.evals_per_epoch,
        packing=plan.packing,
        golden_rows=golden_rows,
        max_steps=plan.max_steps,
    )


def _notes(request: Request, speed: float | None, workload: Workload | None, price: Price | None) -> tuple[str, ...]:
    notes = [request.gpu.note] if request.gpu.note else []
    if speed is None:
        notes.append(f"the rate of {request.gpu.title} is not known: no speed, hours or cost")
    elif request.gpu.name not in CHECKED_CARDS:
        notes.append(f"speed on {request.gpu.title} is arithmetic: it was not checked against a run on that card")
    if speed is not None and workload is None:
        notes.append("no data given: no hours or cost; speed is that of rows of full length")
    if price is None and speed is not None:
        notes.append(f"no price of {request.gpu.title} is known: give one with --price")
    if request.data is not None and not request.data.exact:
        notes.append("token lengths are estimates: no tokenizer counted them")
    if request.model.num_experts:
        notes.append("Mixture-of-Experts: the experts are reckoned in 16 bit, since bitsandbytes does not reach them")
    return tuple(notes)
