"""What a run will need and cost: memory, speed, hours and USD, for one card or for all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.catalog import Gpu, Price
from launcher.data.facts import MOST_PIECES
from launcher.errors import BadInput
from launcher.planning.advice import QUALITY_GAP, Change, Limits, Side, both_methods, changes, limits, recommend
from launcher.planning.corrections import MachineCorrection
from launcher.planning.decide import make_plan
from launcher.planning.estimate import (
    estimate_plan_memory,
    known_lengths,
    memory_request,
    padding_share,
    plan_speed,
    rows_per_step,
    tokens_per_step,
)
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import Cost, MemoryEstimate, Workload, estimate_cost, row_lengths


@dataclass(frozen=True)
class MethodSide:
    """QLoRA or LoRA on this card, planned for itself: memory in GiB, time, money; or why it is refused."""

    method: str
    memory: MemoryEstimate | None
    tokens_per_second: float | None
    cost: Cost | None
    refused: str | None

    def to_dict(self) -> dict[str, Any]:
        memory, cost = self.memory, self.cost
        return {
            "method": self.method,
            "peak_gib": None if memory is None else round(memory.needed_gib, 2),
            "fits": None if memory is None else memory.fits,
            "tokens_per_second": None if self.tokens_per_second is None else round(self.tokens_per_second),
            "hours": None if cost is None else round(cost.hours, 3),
            "usd": None if cost is None or cost.usd is None else round(cost.usd, 2),
            "refused": self.refused,
        }


@dataclass(frozen=True)
class Forecast:
    """A plan with what it needs.

    ``tokens_per_second`` are tokens of rows; ``padding`` is the share of what is computed that is none, None without
    data. ``tokens_per_second`` and ``cost`` are None where nothing is known to reckon with.
    """

    plan: Plan
    gpu: Gpu
    memory: MemoryEstimate
    tokens_per_second: float | None
    padding: float | None
    cost: Cost | None
    price: Price | None
    notes: tuple[str, ...]
    step_seconds: float | None = None  # of an optimizer step; None: no speed is known
    limits: Limits | None = None
    changes: tuple[Change, ...] = ()
    methods: tuple[MethodSide, ...] = ()
    recommendation: str = ""
    quality_gap: str = QUALITY_GAP

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
            "packing": plan.packing,
            "gradient_checkpointing": plan.gradient_checkpointing,
            "activation_offload": plan.activation_offload,
            "kernels": list(plan.kernels),
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
            "limits": None if self.limits is None else self.limits.to_dict(),
            "changes": [change.to_dict() for change in self.changes],
            "methods": [side.to_dict() for side in self.methods],
            "recommendation": self.recommendation,
            "quality_gap": self.quality_gap,
            "throughput": {
                "tokens_per_second": None if self.tokens_per_second is None else round(self.tokens_per_second),
                "padding": None if self.padding is None else round(self.padding, 3),
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


def plan_and_forecast(request: Request, **options: Any) -> Forecast:
    """Plan ``request`` and reckon what the plan takes; raises BadInput as `make_plan`. ``options``: see `forecast`."""
    return forecast(make_plan(request), request, **options)


def forecast(
    plan: Plan,
    request: Request,
    *,
    usd_per_hour: float | None = None,
    golden_rows: int = 0,
    merge: bool = True,
    details: bool = False,
) -> Forecast:
    """Reckon what ``plan``, which is the plan of ``request``, takes, with or without ``merge``.

    ``usd_per_hour`` wins over the card's own price. Without data there are no hours, since nobody knows how much there
    is to train on.

    With ``details`` also what would change it most, how far it could go, and both methods side by side.
    """
    gpu = request.gpu
    price = Price(usd_per_hour, "given", "") if usd_per_hour is not None else next(iter(gpu.prices), None)
    speed = plan_speed(plan, request)
    cost = _cost(plan, request, speed, price, golden_rows, merge)
    found = Forecast(
        plan=plan,
        gpu=gpu,
        memory=estimate_plan_memory(plan, request),
        tokens_per_second=speed,
        padding=padding_share(plan, request),
        cost=cost,
        price=price,
        notes=_notes(plan, request, speed, price),
        step_seconds=None if speed is None else tokens_per_step(plan, request) / speed,
    )
    if not details:
        return found
    methods, sides = both_methods(request, Side(plan.method, plan, found.memory, speed)), []
    for side in methods:
        speed = side.tokens_per_second
        spent = None if side.plan is None else _cost(side.plan, request, speed, price, golden_rows, merge)
        sides.append(MethodSide(side.method, side.memory, side.tokens_per_second, spent, side.refused))
    return replace(
        found,
        limits=limits(plan, request),
        changes=tuple(changes(plan, request)),
        methods=tuple(sides),
        recommendation=recommend(*methods),
    )


def _cost(
    plan: Plan, request: Request, speed: float | None, price: Price | None, golden_rows: int, merge: bool
) -> Cost | None:
    workload = _workload(plan, request, golden_rows)
    if workload is None or speed is None:
        return None
    return estimate_cost(
        workload,
        memory_request(plan.to_dict(), request),
        tokens_per_second=speed,
        usd_per_hour=None if price is None else price.usd_per_hour,
        merge=merge,
        download=not plan.base_model.startswith(("/", ".", "~")),
    )


def best_cards(found: Sequence[Forecast | Refused]) -> dict[str, list[str]]:
    """By card: cheapest, fastest, does not fit; or rows cut, where it fits only with shorter ones than another card.

    A card that trains on less of the rows does not do the same job, so it is neither cheapest nor fastest.
    """
    can = [one for one in found if isinstance(one, Forecast)]
    longest = max((one.plan.sequence_len for one in can if one.memory.fits), default=0)
    fitting = [one for one in can if one.memory.fits and one.plan.sequence_len == longest]
    cheapest = min((one.cost.usd for one in fitting if one.cost and one.cost.usd is not None), default=None)
    fastest = max((one.tokens_per_second for one in fitting if one.tokens_per_second is not None), default=None)
    marks: dict[str, list[str]] = {}
    for one in can:
        usd = one.cost.usd if one.cost else None
        said = [("does not fit", not one.memory.fits)]
        said.append((f"rows cut at {one.plan.sequence_len} tokens", one.memory.fits and one not in fitting))
        if one in fitting:
            said.append(("cheapest", usd is not None and usd == cheapest))
            said.append(("fastest", one.tokens_per_second is not None and one.tokens_per_second == fastest))
        marks[one.gpu.name] = [name for name, is_it in said if is_it]
    return marks


@dataclass(frozen=True)
class Refused:
    """A card that cannot take the job, and why."""

    gpu: Gpu
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"gpu": self.gpu.name, "refused": list(self.reasons)}


def fits(found: Forecast | Refused) -> bool:
    """Whether a card can take the job."""
    return isinstance(found, Forecast) and found.memory.fits


def compare(
    request: Request,
    cards: Sequence[Gpu],
    *,
    corrections: Callable[[Gpu], Mapping[str, MachineCorrection]] | None = None,
    **options: Any,
) -> list[Forecast | Refused]:
    """The same job on each card, in their order; a card on which the plan is refused says why.

    Where the default trainer does not fit and nobody asked for it, the other one may. ``corrections`` are those of a
    card, by trainer; None: none is corrected.
    """
    found: list[Forecast | Refused] = []
    for card in cards:
        # A preset is written for its own card, so on others only what the person set goes along; a correction likewise.
        preset = request.preset if request.preset is not None and request.preset.gpu == card.name else None
        moved = replace(request, gpu=card, preset=preset, corrections=corrections(card) if corrections else {})
        try:
            one = plan_and_forecast(moved, **options)
            if not one.memory.fits and "backend" not in request.overrides:
                other = plan_and_forecast(replace(moved, auto_backend=True), **options)
                one = other if other.memory.fits else one
            found.append(one)
        except BadInput as error:
            found.append(Refused(card, tuple(str(problem) for problem in error.problems)))
    return found


def _workload(plan: Plan, request: Request, golden_rows: int) -> Workload | None:
    data = request.data
    if data is None or data.rows == 0:
        return None
    lengths = row_lengths(data, plan.excess_length)
    each = lengths.sequences(plan.sequence_len)
    trained, per_step, epochs = (data.rows - data.eval_rows) * each, rows_per_step(plan, request), plan.num_epochs
    if plan.max_steps is not None and trained:  # both trainers go on over the rows until they have made these steps
        epochs = plan.max_steps * per_step / trained
    return Workload(
        train_rows=trained,
        eval_rows=data.eval_rows * each,
        lengths=lengths,
        num_epochs=epochs,
        evals_per_epoch=plan.evals_per_epoch,
        effective_rows=per_step,
        golden_rows=golden_rows,
        max_steps=plan.max_steps,
    )


def _notes(plan: Plan, request: Request, speed: float | None, price: Price | None) -> tuple[str, ...]:
    notes = [request.gpu.note] if request.gpu.note else []
    correction = request.corrections.get(plan.backend)
    if correction is not None:
        notes.append(correction.describe())
    if speed is None:
        notes.append(f"the rate of {request.gpu.title} is not known: no speed, hours or cost")
    elif not request.gpu.speed_checked and correction is None:
        notes.append(f"speed on {request.gpu.title} is arithmetic: it was not checked against a run on that card")
    if speed is not None and (request.data is None or not request.data.rows):
        notes.append("no data given: no hours or cost; speed is that of rows of full length")
    if price is None and speed is not None:
        notes.append(f"no price of {request.gpu.title} is known: give one with --price")
    notes += _excess_notes(plan, request)
    if request.data is not None and not request.data.exact:
        notes.append("token lengths are estimates: no tokenizer counted them")
    if request.model.num_experts:
        notes.append("Mixture-of-Experts: the experts are reckoned in 16 bit, since bitsandbytes does not reach them")
    return tuple(notes)


def _excess_notes(plan: Plan, request: Request) -> list[str]:
    """What the sequence length does to rows that are longer; plain texts are split, and lose but a very long tail."""
    lengths, limit = known_lengths(request, plan.excess_length), plan.sequence_len
    if lengths is None or not (long := lengths.share_over(limit)):
        return []
    if lengths.fate == "split":
        tails = lengths.share_over(MOST_PIECES * limit)
        head = f"of the texts are longer than {MOST_PIECES} pieces of {limit} tokens"
        return [f"{_share(tails)} {head}: what lies beyond is cut off, as are these hours"] if tails else []
    head = f"of the rows are longer than {limit} tokens"
    if plan.excess_length == "raise":
        return [f"{_share(long)} {head}: a launch refuses them"]
    left_out = 1 - lengths.sequences(limit)
    notes = []
    if long > left_out:
        notes.append(
            f"{_share(long - left_out)} {head} and are cut there, as are these hours: sequence_len sets another length"
        )
    if left_out:
        why = head if lengths.fate == "drop" else f"of the rows would keep no trained token at {limit} tokens"
        notes.append(f"{_share(left_out)} {why}: they are left out of the run and of its hours")
    return notes


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else "less than 1%"
