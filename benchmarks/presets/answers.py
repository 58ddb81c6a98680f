"""docs/cost.md and docs/choices.md, from the program: what a 7B costs on an A10G, and what is chosen for which rows.

python benchmarks/presets/answers.py            writes both
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.presets.markdown_table import markdown  # noqa: E402
from launcher.catalog import list_gpus, load_gpu  # noqa: E402
from launcher.cli.text import duration  # noqa: E402
from launcher.data.facts import DataFacts  # noqa: E402
from launcher.planning.forecast import Forecast, Refused, best_cards, compare, plan_and_forecast  # noqa: E402
from launcher.planning.request import Request  # noqa: E402
from launcher.preparing.request import make_request  # noqa: E402
from launcher.sizing.cost import Cost  # noqa: E402

LIMIT_USD = 10.0
SPEED_ERROR = 1.25  # how far predictions were off the published figures, on average (docs/speed.md)
EXAMPLES = (10_000, 50_000)
MEAN_TOKENS = (150, 300, 600)
GOLDEN_ROWS = 120
# Rows of the three data sets: median length, width of the log-normal, longest; 20,000 rows each.
DATA_SETS = {
    "short answers": (60, 0.4, 400),
    "mixed instructions": (250, 0.8, 2000),
    "long documents": (3000, 0.3, 8000),
}
SHOWN = (
    "backend", "sequence_len", "packing", "micro_batch_size", "gradient_accumulation_steps", "gradient_checkpointing",
    "activation_offload", "eval_batch_size", "kernels",
)  # fmt: skip


def drawn(rows: int, median: float, sigma: float, longest: int, eval_fraction: float = 0.05) -> DataFacts:
    """A data set of log-normal rows, as `ql check` would describe it with a tokenizer at hand."""
    draw = random.Random(7)
    lengths = sorted(min(longest, max(8, round(median * draw.lognormvariate(0, sigma)))) for _ in range(2000))
    mean = sum(lengths) / len(lengths)
    return DataFacts(
        rows=rows,
        eval_rows=round(rows * eval_fraction),
        conversational=True,
        tokens_total=round(mean * rows),
        tokens_mean=mean,
        tokens_p95=lengths[1899],
        tokens_max=lengths[-1],
        exact=True,
        quantiles=tuple(lengths[9::10]),
    )


def plain(request: Request) -> Request:
    """Without what a calibration says of the machine that makes the page."""
    return replace(request, corrections={})


def of_mean(rows: int, mean: float) -> DataFacts:
    """Instruction data of that mean length: log-normal, width 0.5, none longer than eight times the mean."""
    return drawn(rows, mean / 1.1331, 0.5, round(8 * mean))


def a10g(rows: int, mean: float, epochs: float, backend: str = "auto", method: str | None = None) -> Forecast:
    """The preset a10g-7b on so many rows, with a golden set, download and merge."""
    request = make_request(
        preset="a10g-7b", backend=backend, method=method, settings={"num_epochs": epochs}, data=of_mean(rows, mean)
    )
    return plan_and_forecast(plain(request), golden_rows=GOLDEN_ROWS)


def priced(found: Forecast) -> tuple[Cost, float]:
    """What a run costs in time and in USD: the cards and speeds of these pages are all known."""
    assert found.cost is not None
    assert found.cost.usd is not None
    return found.cost, found.cost.usd


def verdict(usd: float) -> str:
    """Whether a run stays under the limit, or is so near that the error of the predicted speed decides."""
    if LIMIT_USD / SPEED_ERROR < usd < LIMIT_USD * SPEED_ERROR:
        return "about that: too close to say"
    return "yes" if usd < LIMIT_USD else "no"


def rows_within(usd: float, mean: float, epochs: float) -> int:
    """How many examples of that mean length stay within ``usd``, to the thousand below."""
    low, high = 0, 1000
    while low < high:
        middle = (low + high + 1) // 2
        _, needed = priced(a10g(middle * 1000, mean, epochs))
        low, high = (middle, high) if needed <= usd else (low, middle - 1)
    return low * 1000


def cost_rows() -> list[list[str]]:
    """A line for each number of examples, their length and the epochs."""
    rows = []
    for examples in EXAMPLES:
        for mean in MEAN_TOKENS:
            for epochs in (1, 3):
                found = a10g(examples, mean, epochs)
                cost, usd = priced(found)
                rows.append(
                    [
                        f"{examples:,}",
                        str(mean),
                        str(epochs),
                        found.plan.backend,
                        f"{found.tokens_per_second:,.0f}",
                        duration(cost.hours * 3600),
                        f"{usd:.2f}",
                        verdict(usd),
                    ]
                )
    return rows


def answer() -> str:
    """The question answered in words, from the same figures."""
    said = []
    for examples in EXAMPLES:
        dear = [
            (mean, epochs)
            for mean in MEAN_TOKENS
            for epochs in (1, 3)
            if verdict(priced(a10g(examples, mean, epochs))[1]) != "yes"
        ]
        if not dear:
            said.append(f"**{examples:,} examples: yes**, at every length and number of epochs above.")
            continue
        cases = ", ".join(f"{mean} tokens over {epochs} epoch{'s' if epochs > 1 else ''}" for mean, epochs in dear)
        said.append(f"**{examples:,} examples: it depends**; not, or not surely, with {cases}.")
    return " ".join(said)


def method_rows() -> list[list[str]]:
    """The same job with each method: GiB, whether that fits, time, USD."""
    rows = []
    for method in ("qlora", "lora"):
        found = a10g(EXAMPLES[0], 300, 3, method=method)
        cost, usd = priced(found)
        fits = "fits" if found.memory.fits else "does not fit"
        rows.append([method, f"{found.memory.needed_gib:.1f}", fits, duration(cost.hours * 3600), f"{usd:.2f}"])
    return rows


def cost_page() -> str:
    """docs/cost.md."""
    price = load_gpu("a10g").prices[0]
    cost, _ = priced(a10g(EXAMPLES[0], 300, 3))
    parts = markdown(
        ("part", "time"), [[part, duration(hours * 3600)] for part, hours in cost.parts_hours.items() if hours]
    )
    within = markdown(
        ("tokens each", "1 epoch", "3 epochs"),
        [[str(mean), *(f"{rows_within(LIMIT_USD, mean, epochs):,}" for epochs in (1, 3))] for mean in MEAN_TOKENS],
    )
    table = markdown(
        ("examples", "tokens each", "epochs", "trainer", "tokens/s", "time", "USD", f"under ${LIMIT_USD:.0f}"),
        cost_rows(),
    )
    return f"""# What a run costs

Made by `benchmarks/presets/answers.py` from the program; do not edit. `ql estimate --preset a10g-7b --data FILE` says
it for your own rows, on any card, and `--compare` puts the cards side by side.

## A 7B on an A10G under $10?

QLoRA on Mistral 7B v0.3, `a10g-7b`, the faster trainer that fits; examples of log-normal length with the mean below,
one in twenty held out; evaluation and a checkpoint every quarter epoch, a golden set of {GOLDEN_ROWS} prompts, the
download, the merge and its verification all included. The A10G costs ${price.usd_per_hour} an hour ({price.source},
{price.date}); its speed is arithmetic fitted on an H200, and [docs/speed.md](speed.md) says how far it was off where
others published a figure.

{table}

{answer()}

How many examples stay within ${LIMIT_USD:.0f}:

{within}

Where the time of {EXAMPLES[0]:,} examples of 300 tokens goes, over 3 epochs:

{parts}

Assumed, not measured: {"; ".join(cost.assumptions)}.

The same job with each method:

{markdown(("method", "GiB", "", "time", "USD"), method_rows())}

## The cards side by side

{EXAMPLES[0]:,} examples of 300 tokens, 3 epochs, Mistral 7B: `ql estimate --model mistral-7b --compare`.

{comparison()}
"""


def comparison() -> str:
    """The same job on every card of the catalog, or why a card cannot do it."""
    request = plain(make_request(gpu="h100", model="mistral-7b", backend="auto", data=of_mean(EXAMPLES[0], 300)))
    cards = [load_gpu(name) for name in list_gpus() if name != "cpu"]
    found = compare(request, cards, golden_rows=GOLDEN_ROWS)
    marks = best_cards(found)
    rows = []
    for one in found:
        if isinstance(one, Refused):
            rows.append([one.gpu.name, *["-"] * 5, "cannot: " + "; ".join(one.reasons)])
            continue
        cost = one.cost
        usd = "no price known" if cost is None or cost.usd is None else f"{cost.usd:.2f}"
        rows.append(
            [
                one.gpu.name,
                one.plan.backend,
                f"{one.memory.needed_gib:.1f} of {one.gpu.usable_gib:.1f}",
                "-" if one.tokens_per_second is None else f"{one.tokens_per_second:,.0f}",
                "-" if cost is None else f"{cost.hours:.2f}",
                usd,
                ", ".join(marks[one.gpu.name]),
            ]
        )
    return markdown(("card", "trainer", "GiB", "tokens/s", "hours", "USD", ""), rows)


def choices_page() -> str:
    """docs/choices.md."""
    parts = []
    for title, (median, sigma, longest) in DATA_SETS.items():
        data = drawn(20_000, median, sigma, longest)
        head = f"## {title[0].upper()}{title[1:]}"
        lengths = f"mean {data.tokens_mean:.0f} tokens, 95 % up to {data.tokens_p95}, longest {data.tokens_max}"
        head += f"\n\n20,000 rows: {lengths}."
        for preset in ("a10g-7b", "h100-7b"):
            for backend in (None, "auto"):
                found = plan_and_forecast(plain(make_request(preset=preset, backend=backend, data=data)))
                plan = found.plan
                speed = (
                    ""
                    if found.tokens_per_second is None
                    else f", {found.tokens_per_second:,.0f} tokens of rows per second"
                )
                rows = [[key, _value(getattr(plan, key)), plan.reasons[key]] for key in SHOWN]
                asked = "" if backend is None else " --backend auto"
                head += f"\n\n### `{preset}{asked}`{speed}\n\n{markdown(('setting', 'value', 'reason'), rows)}"
        parts.append(head)
    return (
        "# What the solver chooses, for three data sets\n\n"
        "Made by `benchmarks/presets/answers.py` from the program; do not edit. Nothing is fixed by hand: the length, "
        "the batch, recomputation, offload and packing follow from the rows' lengths, the card's memory and the "
        "predicted speed.\n\n" + "\n\n".join(parts) + "\n"
    )


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


PAGES = {"cost.md": cost_page, "choices.md": choices_page}


def main() -> None:
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
