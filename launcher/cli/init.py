"""``ql init``: at most five questions, then a job file that `ql launch` runs and `ql validate` checks."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import Amount, Wanted, data_here, data_options, json_option, plan_options
from launcher.cli.words import examples, show_asides

if TYPE_CHECKING:
    from launcher.data.columns import Columns
    from launcher.data.read_as import ReadAs, Thoughts
    from launcher.data.report import DataReport
    from launcher.planning.forecast import Forecast
    from launcher.preparing.prepared import Prepared
    from launcher.preparing.propose import FoundCard

# Settings that people look at first: shown with their planned values, to be changed.
SHOWN = ("num_epochs", "learning_rate", "sequence_len", "lora_r", "effective_batch_size")
GATE = "exact_match>=base"
JOB = "job.yaml"


@click.command(
    epilog=examples(
        "ql init --data my.jsonl --golden golden.jsonl",
        "ql init --data my.jsonl --gpu a10g --out a10g.yaml --yes",
    )
)
@plan_options
@click.option(
    "--data", type=click.Path(path_type=Path), help="Training rows: JSON lines, JSON, CSV, Parquet, packed or not."
)
@data_options
@click.option("--golden", type=click.Path(path_type=Path), help="Golden set, JSONL.")
@click.option("--gate", "gates", multiple=True, metavar="EXPR", help=f'With a golden set; the default is "{GATE}".')
@click.option("--price", type=Amount(min=0), metavar="USD", help="Price of the card per hour.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write; the default is job.yaml.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the options, and the proposal for the rest.")
@json_option
def command(
    wanted: Wanted,
    data: Path | None,
    columns: Columns,
    thoughts: Thoughts | None,
    golden: Path | None,
    gates: tuple[str, ...],
    price: float | None,
    out: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Find the card, look at the data, propose a preset with its estimate, and write a job file.

    Asks for the data, the golden set, the card, the preset and the file, each only where no option says it; without a
    terminal, or with --yes, it asks nothing. Exits 1 when the data is unusable or nothing fits.
    """
    from launcher.catalog import whole_name
    from launcher.data.read_as import ReadAs
    from launcher.preparing.prepare import prepare
    from launcher.preparing.propose import write_new

    ask = sys.stdin.isatty() and not yes
    named = data or _ask_data(ask)
    data = data_here(named)
    proposing = wanted.preset is None and not (wanted.gpu and wanted.model)
    read_as = ReadAs.of(columns, thoughts)
    report = _read(data, read_as) if ask or proposing else None  # bad data is said before anything else is asked
    golden = golden or _ask_golden(ask)
    chosen = wanted.settings()
    card = f"Preset {wanted.preset}, as asked for" if wanted.preset else f"Card {wanted.gpu}, as asked for"
    others: list[Forecast] = []
    if proposing:
        assert report is not None
        card, preset, others = _propose(ask, report, golden, wanted, price, read_as)
        wanted = replace(wanted, preset=preset, gpu=None if preset else wanted.gpu)
    prepared = prepare(
        wanted.request(),
        data,
        golden=golden,
        gates=gates or ((GATE,) if golden else ()),
        usd_per_hour=price,
        read_as=read_as,
    )
    estimate = prepared.forecast
    if prepared.report:
        show_asides(prepared.report)
    out = out or _ask_out(ask)
    asked = {key: getattr(wanted, key) for key in ("gpu", "model", "method", "backend")}
    asked |= {"thoughts": thoughts}
    asked["model"] = whole_name(wanted.model) if wanted.model else None
    named_so = _relative(data, out) if named == data else str(named)  # a data set of the hub stays its name
    write_new(out, job_text(prepared, estimate, out, card, others, asked, chosen, data=named_so))
    if as_json:
        facts = {"file": str(out), "preset": wanted.preset, "card": card, "estimate": estimate.to_dict()}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{prepared.plan.preset or prepared.request.model.title}: {describe(estimate)}")
    click.echo(f"wrote {out}; run it with: ql launch {shlex.quote(str(out))}")


def _ask_data(ask: bool) -> Path:
    if not ask:
        raise click.UsageError("give --data FILE.jsonl")
    return click.prompt("Training rows (JSONL)", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def _read(data: Path, read_as: ReadAs) -> DataReport:
    from launcher.data.inspect import inspect_data

    report = inspect_data(data, columns=read_as.columns, thoughts=read_as.thoughts)
    report.require_rows()
    return report


def _ask_golden(ask: bool) -> Path | None:
    if not ask:
        return None
    given: Path | None = click.prompt(
        "Golden set (JSONL; empty for none)", default="", show_default=False, value_proc=_golden_file
    )
    return given


def _golden_file(typed: str) -> Path | None:
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    return kind.convert(typed, None, None) if typed else None


def _ask_out(ask: bool) -> Path:
    if not ask:
        return Path(JOB)
    names = chain([JOB], (f"job-{number}.yaml" for number in count(2)))
    free = next(name for name in names if not Path(name).exists())
    written: Path = click.prompt("File to write", default=free, value_proc=_new_file)
    return written


def _new_file(typed: str) -> Path:
    """The answers are not lost to a name that is taken: it is asked again."""
    if Path(typed).exists():
        raise click.BadParameter(f"{typed!r} exists already, and is not overwritten.")
    return Path(typed)


def _propose(
    ask: bool, report: DataReport, golden: Path | None, wanted: Wanted, price: float | None, read_as: ReadAs
) -> tuple[str, str | None, list[Forecast]]:
    """(why this card, the chosen preset or None where a model was named, the presets that were not chosen)."""
    from launcher.catalog import load_gpu
    from launcher.golden.rows import read_golden
    from launcher.preparing.propose import FoundCard, candidates, choose, find_card

    prompts = len(read_golden(golden, conversational=report.conversational, columns=read_as.columns)) if golden else 0
    gpu = wanted.gpu
    card = find_card() if gpu is None else FoundCard(load_gpu(gpu), f"{load_gpu(gpu).title}, as asked for")
    card = _ask_card(ask, card) if gpu is None else card
    assert card.gpu is not None
    found = candidates(card.gpu, report.facts(), backend=wanted.backend, usd_per_hour=price, golden_rows=prompts)
    proposed = choose(found)
    others = [one for one in found if one is not proposed]
    if not ask or wanted.model is not None:
        return card.why, proposed.plan.preset, [] if wanted.model else others
    name = _ask_preset(card, found, proposed)
    return card.why, name, [one for one in found if one.plan.preset != name]


def _ask_card(ask: bool, card: FoundCard) -> FoundCard:
    from launcher.catalog import list_gpus, load_gpu
    from launcher.errors import Unreadable
    from launcher.preparing.propose import FoundCard

    known = list_gpus()
    if not ask:
        if card.gpu is None:
            hint = f"--gpu names the one that is most like it: {', '.join(known)}"
            raise Unreadable(f"{card.why}, is not a card that ql knows", hint=hint)
        return card
    click.echo(f"Card: {card.why}", err=True)
    default = card.gpu.name if card.gpu else None
    name = click.prompt("Card to plan for", type=click.Choice(known), default=default, show_choices=card.gpu is None)
    return (
        card
        if card.gpu is not None and name == card.gpu.name
        else FoundCard(load_gpu(name), f"{load_gpu(name).title}, as chosen")
    )


def _ask_preset(card: FoundCard, found: Sequence[Forecast], proposed: Forecast) -> str:
    from launcher.cli.text import table

    rows = [(str(one.plan.preset), one.plan.base_model, describe(one, short=True)) for one in found]
    click.echo(table(("preset", "base model", "estimate"), rows), err=True)
    names = [str(one.plan.preset) for one in found]
    chosen: str = click.prompt(
        "Preset", type=click.Choice(names), default=str(proposed.plan.preset), show_choices=False
    )
    return chosen


def describe(found: Forecast, *, short: bool = False) -> str:
    """A forecast on one line: memory, time, money; ``short`` leaves out where the price is from."""
    from launcher.cli.text import duration

    memory = found.memory
    budget = f" of {memory.budget_gib:.1f}" if memory.budget_gib is not None else ""
    parts = [f"{memory.needed_gib:.1f}{budget} GiB"]
    if not memory.fits:
        parts.append("does not fit")
    if found.cost is not None:
        parts.append(f"about {duration(found.cost.hours * 3600)}")
        if found.cost.usd is not None and found.price is not None:
            source = ", ".join(part for part in (found.price.source, found.price.date) if part)
            rate = "" if short else f" at {found.price.usd_per_hour:g} USD/h ({source})"
            parts.append(f"about {found.cost.usd:.2f} USD{rate}")
    return ", ".join(parts)


def job_text(
    prepared: Prepared,
    estimate: Forecast,
    path: Path,
    card: str,
    others: Sequence[Forecast],
    asked: dict[str, object],
    settings: dict[str, object],
    *,
    data: str,
) -> str:
    """The job file: the proposal, with what was found and what else there is as comments."""
    from launcher.configs.render import render_text

    plan, report, model = prepared.plan, prepared.report, prepared.request.model
    assert report is not None
    facts = report.facts()
    longest = f"the longest {facts.tokens_max:,} tokens{'' if facts.exact else ' by estimate'}"
    licence = f"{model.license}{', gated: ask for access on the hub' if model.gated else ''}"
    values = plan.to_dict()
    return render_text(
        "job.yaml.j2",
        file=path.name,
        estimate=f"Estimate: {describe(estimate)}.",
        card=f"{card}. {model.title} ({licence}).",
        others=[f"instead {one.plan.preset}: {describe(one, short=True)}" for one in others],
        preset=plan.preset,
        request={key: value for key, value in asked.items() if value is not None},
        data=data,
        data_facts=f"{report.row_count:,} rows ({report.format}), {longest}.",
        columns=report.reading.columns if report.reading else {},
        golden=prepared.golden_path and _relative(prepared.golden_path, path),
        golden_facts=f"{len(prepared.golden):,} prompts; base, adapter and merged are scored on them.",
        gates=[gate.text for gate in prepared.gates],
        settings=settings,
        shown={key: values[key] for key in SHOWN if key not in settings},
    )


def _relative(path: Path, job: Path) -> str:
    return Path(os.path.relpath(path, job.parent)).as_posix()
