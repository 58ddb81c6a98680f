"""``ql estimate``: memory, speed and cost of a run, before it is run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import Amount, Wanted, data_here, data_options, json_option, plan_options
from launcher.cli.words import examples, show_asides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.catalog import Gpu
    from launcher.data.columns import Columns
    from launcher.data.read_as import Thoughts
    from launcher.planning.forecast import Forecast, Refused


@click.command(
    epilog=examples(
        "ql estimate --preset a10g-7b --data my.jsonl",
        "ql estimate --gpu a10g --model llama-3.1-8b --seq-len 4096",
        "ql estimate --model llama-3.1-8b --rows 50000 --row-tokens 700 --compare",
    )
)
@plan_options
@click.option("--seq-len", type=click.IntRange(min=16), metavar="N", help="Longest row, in tokens.")
@click.option("--micro-batch", type=click.IntRange(min=1), metavar="N", help="Rows per forward pass.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Training rows (JSON lines, JSON, CSV, Parquet): with them come hours and cost.",
)
@data_options
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Without --data: how many rows there will be ...")
@click.option("--row-tokens", type=click.IntRange(min=1), metavar="N", help="... and how long they are on average.")
@click.option("--golden-rows", type=click.IntRange(min=0), default=0, metavar="N", help="Prompts of the golden set.")
@click.option(
    "--architecture",
    metavar="KEY=N,...",
    help="A model by its numbers instead of --model: hidden_size, intermediate_size, num_layers, num_attention_heads, "
    "vocab_size; num_key_value_heads, head_dim, max_position_embeddings, model_type, tie_word_embeddings.",
)
@click.option("--vram", type=Amount(min=1), metavar="GIB", help="Usable memory, instead of a card's.")
@click.option("--tflops", type=Amount(min=1), help="With --vram: dense 16-bit TFLOP/s of that card ...")
@click.option("--bandwidth", type=Amount(min=1), help="... and its GB/s; with both come speed and hours.")
@click.option("--price", type=Amount(min=0), metavar="USD", help="Price of the card per hour; with --compare, of each.")
@click.option("--compare", is_flag=True, help="The same job on all cards, side by side.")
@json_option
def command(
    wanted: Wanted,
    seq_len: int | None,
    micro_batch: int | None,
    data: Path | None,
    columns: Columns,
    thoughts: Thoughts | None,
    rows: int | None,
    row_tokens: int | None,
    golden_rows: int,
    architecture: str | None,
    vram: float | None,
    tflops: float | None,
    bandwidth: float | None,
    price: float | None,
    compare: bool,
    as_json: bool,
) -> None:
    """What a run will need, without running it: no GPU, no torch, no network.

    Memory is what the device shows, against what the card can give. Exits 1 when the run does not fit; with
    --compare, when it fits no card.
    """
    from launcher.catalog.load import stand_in_gpu
    from launcher.cli import estimate_text as text
    from launcher.data.read_as import ReadAs
    from launcher.planning.forecast import compare as compare_cards
    from launcher.planning.forecast import fits, plan_and_forecast
    from launcher.preparing.calibrations import corrections_for
    from launcher.preparing.workload import with_file, with_rows

    _check_together(data, columns, thoughts, rows, row_tokens, vram, tflops, bandwidth, compare)
    names_a_card = wanted.gpu is not None or wanted.preset is not None
    if not names_a_card and (vram is not None or compare):
        wanted = replace(wanted, gpu=stand_in_gpu())
    request = wanted.request(architecture=architecture, sequence_len=seq_len, micro_batch_size=micro_batch)
    if vram is not None:
        known = request.gpu if names_a_card else None
        request = replace(request, gpu=_card(known, vram, tflops, bandwidth), corrections={})
    if data is not None:
        request, report = with_file(request, data_here(data), ReadAs.of(columns, thoughts))
        show_asides(report)
    elif rows is not None and row_tokens is not None:
        request = with_rows(request, rows, row_tokens)
    if compare:
        from launcher.catalog import list_gpus, load_gpu

        cards = [load_gpu(name) for name in list_gpus() if name != "cpu"]
        found = compare_cards(request, cards, corrections=corrections_for, usd_per_hour=price, golden_rows=golden_rows)
        click.echo(_as_json(found) if as_json else text.comparison(found))
        if price is not None:
            click.echo(f"note: {text.ONE_PRICE.format(price)}", err=True)
        if not any(fits(one) for one in found):
            sys.exit(1)
        return
    one = plan_and_forecast(request, usd_per_hour=price, golden_rows=golden_rows, details=True)
    if as_json:
        click.echo(json.dumps(one.to_dict(), indent=2))
    else:
        out, asides = text.describe(one)
        click.echo(out)
        for aside in asides:
            click.echo(aside, err=True)
    if not one.memory.fits:
        sys.exit(1)


def _as_json(found: Sequence[Forecast | Refused]) -> str:
    """The cards with what the table marks them as: cheapest, fastest, does not fit."""
    from launcher.planning.forecast import best_cards

    marks = best_cards(found)
    return json.dumps([{**one.to_dict(), "marks": marks.get(one.gpu.name, [])} for one in found], indent=2)


def _check_together(
    data: Path | None,
    columns: Columns,
    thoughts: Thoughts | None,
    rows: int | None,
    row_tokens: int | None,
    vram: float | None,
    tflops: float | None,
    bandwidth: float | None,
    compare: bool,
) -> None:
    """Raises Unreadable for options that say too little, or the same thing twice."""
    from launcher.errors import Unreadable

    if (rows is None) != (row_tokens is None):
        raise Unreadable("--rows and --row-tokens go together")
    if rows is not None and data is not None:
        raise Unreadable("--rows and --data are two ways of saying the same: give one")
    if data is None and (columns or thoughts):
        raise Unreadable("--map and --thoughts say how --data is read, and there is none")
    if (tflops is None) != (bandwidth is None):
        raise Unreadable("--tflops and --bandwidth go together")
    if tflops is not None and vram is None:
        raise Unreadable("--tflops and --bandwidth describe a card that is not known: give its --vram too")
    if compare and vram is not None:
        raise Unreadable("--compare sets the cards that ql knows side by side, and --vram describes another: give one")


def _card(known: Gpu | None, vram: float, tflops: float | None, bandwidth: float | None) -> Gpu:
    """``known`` with another amount of memory; or a card of which only what was given is known."""
    from launcher.catalog import Gpu

    if known is not None:
        card = replace(known, title=f"{known.title} with {vram:g} GiB usable", vram_gib=vram, usable_gib=vram)
        return card if tflops is None else replace(card, tflops_16bit=tflops, bandwidth_gbs=bandwidth)
    told = "only the memory of this card is known" if tflops is None else "of this card only what was given is known"
    return Gpu(
        name="unknown",
        title=f"a card with {vram:g} GiB",
        kind="cuda",
        vram_gib=vram,
        usable_gib=vram,
        compute_capability=8.0,
        tflops_16bit=tflops,
        bandwidth_gbs=bandwidth,
        compute_dtype="float16",
        match=(),
        note=f"{told}; it is taken to be of compute capability 8.0 or newer",
    )
