"""``ql estimate``: memory, speed and cost of a run, before it is run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import json_option, person_settings, plan_options

if TYPE_CHECKING:
    from launcher.planning.forecast import Forecast
    from launcher.planning.request import Request

BAR_WIDTH = 40
STAND_IN = "h100"  # planned for while the real card is still to be put in: it refuses nothing


@click.command()
@partial(plan_options, backends=("axolotl", "unsloth", "auto"))
@click.option("--seq-len", type=click.IntRange(min=16), metavar="N", help="Longest row, in tokens.")
@click.option("--micro-batch", type=click.IntRange(min=1), metavar="N", help="Rows per forward pass.")
@click.option("--data", type=click.Path(path_type=Path), help="Training rows, JSONL: with them come hours and cost.")
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Without --data: how many rows there will be ...")
@click.option("--row-tokens", type=click.IntRange(min=1), metavar="N", help="... and how long they are on average.")
@click.option("--vram", type=click.FloatRange(min=1), metavar="GIB", help="Usable memory, instead of a card's.")
@click.option("--price", type=click.FloatRange(min=0), metavar="USD", help="Price of the card per hour.")
@click.option("--compare", is_flag=True, help="The same job on all cards, side by side.")
@json_option
def command(
    preset: str | None,
    gpu: str | None,
    model: str | None,
    method: str | None,
    backend: str | None,
    compute_dtype: str | None,
    settings: tuple[str, ...],
    max_steps: int | None,
    seq_len: int | None,
    micro_batch: int | None,
    data: Path | None,
    rows: int | None,
    row_tokens: int | None,
    vram: float | None,
    price: float | None,
    compare: bool,
    as_json: bool,
) -> None:
    """What a run will need, without running it: no GPU, no torch, no network.

    Memory is what the device shows, against what the card can give. Exits 1 when the run does not fit.
    """
    from launcher.errors import Unreadable
    from launcher.planning.forecast import best_backend, forecast
    from launcher.planning.forecast import compare as compare_cards
    from launcher.planning.request import make_request

    if (rows is None) != (row_tokens is None):
        raise Unreadable("--rows and --row-tokens go together")
    if rows is not None and data is not None:
        raise Unreadable("--rows and --data are two ways of saying the same: give one")
    chosen = person_settings(settings, compute_dtype, max_steps)
    chosen |= {key: value for key, value in (("sequence_len", seq_len), ("micro_batch_size", micro_batch)) if value}
    request = make_request(
        preset=preset,
        gpu=gpu or (STAND_IN if preset is None and (vram is not None or compare) else None),
        model=model,
        method=method,
        backend=None if backend == "auto" else backend,
        settings=chosen,
    )
    if vram is not None:
        request = _with_memory(request, vram, known=gpu is not None or preset is not None)
    request = _with_data(request, data, rows, row_tokens)
    auto = backend == "auto"
    if compare:
        from launcher.catalog import list_gpus, load_gpu

        cards = [load_gpu(name) for name in list_gpus() if name != "cpu"]
        _show_comparison(compare_cards(request, cards, auto_backend=auto, usd_per_hour=price), as_json)
        return
    found = best_backend(request, usd_per_hour=price) if auto else forecast(request, usd_per_hour=price)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _show(found)
    if not found.memory.fits:
        sys.exit(1)


def _with_memory(request: Request, vram: float, *, known: bool) -> Request:
    """The same card with another amount of memory; or a card of which only the memory is known."""
    if known:
        return replace(request, gpu=replace(request.gpu, vram_gib=vram, usable_gib=vram))
    from launcher.catalog import Gpu

    card = Gpu(
        name="unknown",
        title=f"a card with {vram:g} GiB",
        kind="cuda",
        vram_gib=vram,
        usable_gib=vram,
        compute_capability=8.0,
        tflops_16bit=None,
        bandwidth_gbs=None,
        compute_dtype="float16",
        match=(),
        note="only the memory of this card is known; it is taken to be of compute capability 8.0 or newer",
    )
    return replace(request, gpu=card)


def _with_data(request: Request, data: Path | None, rows: int | None, row_tokens: int | None) -> Request:
    """The request with what is known of the data: a file that is read, or a number of rows."""
    from launcher.data.facts import DataFacts
    from launcher.planning.decide import make_plan

    if data is not None:
        from launcher.data.base import find_base
        from launcher.data.inspect import inspect_data

        report = inspect_data(
            data,
            base=find_base(request.base_model),
            chat_template=str(request.overrides.get("chat_template") or request.model.chat_template),
        )
        report.require_rows()
        request = replace(request, data=report.facts())
        plan = make_plan(request)  # it says how many rows are held out
        return replace(request, data=report.facts(plan.eval_fraction, plan.seed))
    if rows is None or row_tokens is None:
        return request
    held_out = round(rows * make_plan(request).eval_fraction)
    facts = DataFacts(
        rows=rows,
        eval_rows=held_out,
        conversational=True,
        tokens_total=rows * row_tokens,
        tokens_mean=row_tokens,
        tokens_p95=2 * row_tokens,  # instruction data is about so wide; only padding depends on it
        tokens_max=2 * row_tokens,
        exact=False,
    )
    return replace(request, data=facts)


def _show(found: Forecast) -> None:
    from launcher.cli.text import duration, table

    plan, memory, cost = found.plan, found.memory, found.cost
    click.echo(
        f"{plan.preset or plan.gpu + ' + ' + plan.model}: {plan.method} with {plan.backend} on {found.gpu.title}"
    )
    click.echo(
        f"{plan.compute_dtype}, {plan.micro_batch_size} x {plan.gradient_accumulation_steps} rows"
        f" of up to {plan.sequence_len} tokens\n"
    )
    total = found.gpu.usable_gib
    rows = [(name.replace("_", " "), f"{gib:.2f}", _bar(gib, total)) for name, gib in memory.breakdown_gib.items()]
    rows.append(("device, training", f"{memory.peak_gib:.2f}", _bar(memory.peak_gib, total)))
    rows.append(("device, evaluation", f"{memory.evaluation_gib:.2f}", _bar(memory.evaluation_gib, total)))
    click.echo(table(("memory", "GiB", f"of {total:g} GiB usable"), rows))
    verdict = "fits" if memory.fits else "DOES NOT FIT"
    click.echo(f"\n{verdict}: {memory.needed_gib:.1f} GiB of a budget of {memory.budget_gib:.1f} GiB (4 % left free)")
    if found.tokens_per_second is not None:
        click.echo(f"speed: about {found.tokens_per_second:,.0f} tokens/s, padding counted")
    if cost is not None:
        parts = ", ".join(f"{part} {duration(hours * 3600)}" for part, hours in cost.parts_hours.items() if hours)
        click.echo(f"time: about {duration(cost.hours * 3600)} ({parts})")
        if cost.usd is not None and found.price is not None:
            source = ", ".join(part for part in (found.price.source, found.price.date) if part)
            click.echo(f"cost: about ${cost.usd:.2f} at ${found.price.usd_per_hour:g} an hour ({source})")
        click.echo(f"assumed: {', '.join(cost.assumptions)}", err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _bar(gib: float, total: float) -> str:
    return "#" * min(round(gib / total * BAR_WIDTH), BAR_WIDTH + 1)


def _show_comparison(found: list[Forecast], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
        return
    from launcher.cli.text import table

    fitting = [one for one in found if one.memory.fits]
    cheapest = min((one.cost.usd for one in fitting if one.cost and one.cost.usd is not None), default=None)
    fastest = max((one.tokens_per_second or 0.0 for one in fitting), default=None)
    rows = []
    for one in sorted(found, key=lambda one: (not one.memory.fits, -(one.tokens_per_second or 0.0))):
        usd = one.cost.usd if one.cost else None
        marks = [name for name, is_it in (
            ("cheapest", one.memory.fits and usd is not None and usd == cheapest),
            ("fastest", one.memory.fits and one.tokens_per_second == fastest),
            ("does not fit", not one.memory.fits),
        ) if is_it]  # fmt: skip
        rows.append(
            (
                one.gpu.name,
                f"{one.memory.needed_gib:.1f} / {one.gpu.usable_gib:.1f}",
                one.plan.backend,
                one.plan.compute_dtype,
                str(one.plan.micro_batch_size),
                _number(one.tokens_per_second, ",.0f"),
                _number(one.cost.hours if one.cost else None, ".1f"),
                _number(usd, ".2f"),
                ", ".join(marks),
            )
        )
    click.echo(table(("card", "GiB", "trainer", "dtype", "rows", "tokens/s", "hours", "USD", ""), rows))


def _number(value: Any, form: str) -> str:
    return "?" if value is None else format(value, form)
