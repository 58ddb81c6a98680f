"""An estimate in words and bars, for a person; `ql estimate --json` has the same facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launcher.cli.text import duration, table

if TYPE_CHECKING:
    from launcher.planning.forecast import Forecast, Refused

BAR_WIDTH = 60
CHANGES_SHOWN = 5
ONE_PRICE = "every card is reckoned at ${:g} an hour: the cheapest is then the one that takes least time"


def describe(found: Forecast) -> tuple[str, list[str]]:
    """What stdout shows, and the asides for stderr."""
    plan, memory = found.plan, found.memory
    unit = "packed sequences" if plan.packing else "rows"
    lines = [
        f"{plan.preset or plan.gpu + ' + ' + plan.model}: {plan.method} with {plan.backend} on {found.gpu.title}",
        f"{plan.compute_dtype}, {plan.micro_batch_size} x {plan.gradient_accumulation_steps} {unit}"
        f" of up to {plan.sequence_len} tokens, {_mode(found)}",
        "",
        *_memory(found),
        "",
    ]
    verdict = "fits" if memory.fits else "DOES NOT FIT"
    left = 1 - (memory.budget_gib or 0.0) / found.gpu.usable_gib
    lines.append(
        f"{verdict}: {memory.needed_gib:.1f} GiB of a budget of {memory.budget_gib:.1f} GiB"
        f" ({left:.0%} of {found.gpu.usable_gib:g} GiB usable is left free)"
    )
    lines += _limits(found)
    lines += ["", *_changes(found)] if found.changes else []
    spent = _speed_and_cost(found)
    lines += ["", *spent] if spent else []
    lines += ["", *_methods(found)] if found.methods else []
    asides = [f"assumed: {', '.join(found.cost.assumptions)}"] if found.cost else []
    return "\n".join(lines), asides + [f"note: {note}" for note in found.notes]


def _mode(found: Forecast) -> str:
    plan = found.plan
    if not plan.gradient_checkpointing:
        return "activations kept"
    return "activations recomputed" + (", checkpoints on the host" if plan.activation_offload else "")


def _memory(found: Forecast) -> list[str]:
    memory, usable = found.memory, found.gpu.usable_gib
    rows, start = [], 0.0
    for name, gib in memory.breakdown_gib.items():
        rows.append((name.replace("_", " "), f"{gib:.2f}", bar(start, gib, usable, memory.budget_gib)))
        start += gib
    for name, gib in (("training", memory.peak_gib), ("evaluation", memory.evaluation_gib), ("load", memory.load_gib)):
        if gib:
            rows.append((f"device, {name}", f"{gib:.2f}", bar(0.0, gib, usable, memory.budget_gib)))
    return table(("memory", "GiB", f"of {usable:g} GiB usable; | is the budget"), rows).splitlines()


def bar(start: float, length: float, usable: float, budget: float | None) -> str:
    """A stretch of the card's memory: ``#`` from ``start`` GiB on, ``|`` where the budget ends, ``>`` past the card."""
    scale = BAR_WIDTH / usable
    first, last = round(start * scale), round((start + length) * scale)
    cells = ["#" if first <= cell < last else "." for cell in range(BAR_WIDTH)]
    if length and first == last and first < BAR_WIDTH:
        cells[first] = "#"  # too little for a cell, and not nothing
    if budget is not None:
        mark = min(round(budget * scale), BAR_WIDTH - 1)
        cells[mark] = "|" if cells[mark] == "." else cells[mark]
    return "".join(cells) + (">" if start + length > usable else "")


def _limits(found: Forecast) -> list[str]:
    far, plan = found.limits, found.plan
    if far is None:
        return []
    if not far.sequence_len_one_row:
        return ["what fits: nothing, not even one short row in this mode"]

    def length(tokens: int) -> str:
        return f"{tokens}" + (" (all that the model reads)" if tokens >= far.model_reads else "")

    said = [f"at {plan.sequence_len} tokens up to {far.micro_batch_size} rows at a time"]
    said.append(f"at {plan.micro_batch_size} rows up to {length(far.sequence_len)} tokens")
    if plan.micro_batch_size > 1:
        said.append(f"one row of up to {length(far.sequence_len_one_row)} tokens")
    return [f"what fits in this mode: {'; '.join(said)}"]


def _changes(found: Forecast) -> list[str]:
    rows = []
    for change in found.changes[:CHANGES_SHOWN]:
        faster = "" if change.speed_ratio is None else f"{change.speed_ratio:.2f} x"
        fits = "" if change.fits else "does not fit"
        setting = f"{change.setting} {_value(change.before)} -> {_value(change.after)}"
        rows.append((setting, f"{change.delta_gib:+.2f}", f"{change.peak_gib:.2f}", faster, fits))
    return table(("what would change it most", "GiB", "to", "speed", ""), rows).splitlines()


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _speed_and_cost(found: Forecast) -> list[str]:
    cost, lines = found.cost, []
    if found.tokens_per_second is not None:
        wasted = "" if not found.padding else f"; {found.padding:.0%} of what is computed is padding"
        lines.append(f"speed: about {found.tokens_per_second:,.0f} tokens of rows per second{wasted}")
    if cost is not None:
        parts = ", ".join(f"{part} {duration(hours * 3600)}" for part, hours in cost.parts_hours.items() if hours)
        lines.append(f"time: about {duration(cost.hours * 3600)} ({parts})")
        if cost.usd is not None and found.price is not None:
            source = ", ".join(part for part in (found.price.source, found.price.date) if part)
            lines.append(f"cost: about ${cost.usd:.2f} at ${found.price.usd_per_hour:g} an hour ({source})")
    return lines


def _methods(found: Forecast) -> list[str]:
    rows = []
    for side in found.methods:
        if side.memory is None:
            rows.append((side.method, "-", "-", "-", "-", f"refused: {side.refused}"))
            continue
        hours, usd = (side.cost.hours, side.cost.usd) if side.cost else (None, None)
        rows.append(
            (
                side.method,
                f"{side.memory.needed_gib:.1f}",
                number(side.tokens_per_second, ",.0f"),
                number(hours, ".2f"),
                number(usd, ".2f"),
                "fits" if side.memory.fits else "does not fit",
            )
        )
    lines = table(("method", "GiB", "tokens/s", "hours", "USD", ""), rows).splitlines()
    return [*lines, f"{found.recommendation}", f"quality: {found.quality_gap}"]


def comparison(found: Sequence[Forecast | Refused]) -> str:
    """The cards side by side: which is cheapest, which is fastest, which cannot and why."""
    from launcher.planning.forecast import Forecast, best_cards

    marks = best_cards(found)
    rows: list[tuple[str, ...]] = []
    can = [one for one in found if isinstance(one, Forecast)]
    for one in sorted(can, key=lambda one: (not one.memory.fits, -(one.tokens_per_second or 0.0))):
        rows.append(
            (
                one.gpu.name,
                f"{one.memory.needed_gib:.1f} / {one.gpu.usable_gib:.1f}",
                one.plan.backend,
                one.plan.method,
                one.plan.compute_dtype,
                str(one.plan.micro_batch_size),
                number(one.tokens_per_second, ",.0f"),
                number(one.cost.hours if one.cost else None, ".1f"),
                number(one.cost.usd if one.cost else None, ".2f"),
                ", ".join(marks[one.gpu.name]),
            )
        )
    for other in found:
        if not isinstance(other, Forecast):
            rows.append((other.gpu.name, *("-",) * 8, f"cannot: {'; '.join(other.reasons)}"))
    text = table(("card", "GiB", "trainer", "method", "dtype", "rows", "tokens/s", "hours", "USD", ""), rows)
    tied = sum("fastest" in marked for marked in marks.values())
    if tied > 1:  # the speed model gives cards of different rates one speed only where their host sets it
        text += f"\n{tied} cards are equally fast: in steps so small each waits for its host to start the kernels"
    return text


def number(value: float | None, form: str) -> str:
    """The value in that format; a question mark where it is not known."""
    return "?" if value is None else format(value, form)
