"""``ql compare``: runs side by side, on the terminal, as JSON, as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import json_option, runs_dir
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.report.compared import Comparison, GateVerdict, GoldenPair

SHOWN_FLIPS = 10  # of the prompts that flipped, on a terminal; all are in the JSON and on the page


@click.command(epilog=examples("ql compare a10g-7b-20261101-120000 latest --html comparison.html"))
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the comparison as a page, too.")
@runs_dir
@json_option
def command(runs: tuple[str, ...], html: Path | None, runs_dir: Path, as_json: bool) -> None:
    """Hold each RUN against the first: plan, curves, golden scores with a paired test, memory, speed, cost."""
    from launcher.runs.results.comparison import compare
    from launcher.runs.run import open_run

    facts = compare([open_run(name, runs_dir) for name in runs], html)
    click.echo(json.dumps(facts, indent=2) if as_json else describe_comparison(facts))
    if html is not None:
        click.echo(f"page: {html}", err=True)


def describe_comparison(facts: Comparison) -> str:
    """A comparison in words and tables."""
    from launcher.cli.glyphs import spark
    from launcher.cli.text import table
    from launcher.report.compare_html import figure
    from launcher.report.comparison import FIGURES
    from launcher.report.page import show

    runs = facts["runs"]
    names = [run["name"] for run in runs]
    rows = [("method", *(f"{run['method']} with {run['backend']}" for run in runs))]
    rows += [
        (name, *(figure(key, unit, run[key]) for run in runs))
        for key, name, unit in FIGURES
        if any(run[key] is not None for run in runs)
    ]
    rows.append(("loss", *(spark(run["curve"]["loss"], 16) for run in runs)))
    rows.append(("gates", *(_gates(run["gates"]) for run in runs)))
    lines = [table(("", *names), rows)]
    if facts["plan"]:
        plan = [(row["key"], *(show(value) for value in row["values"])) for row in facts["plan"]]
        lines += ["", table(("what differs", *names), plan)]
    for pair in facts["golden"]:
        lines += ["", *_describe_pair(pair)]
    lines += [f"note: {note}" for note in facts["notes"]]
    if facts["trade"]:
        trade = facts["trade"]
        lines += ["", f"{trade['words']}", f"take {trade['take']}: {trade['why']}"]
    return "\n".join(lines)


def _gates(gates: list[GateVerdict]) -> str:
    missed = [gate["gate"] for gate in gates if not gate["passed"]]
    return "none" if not gates else f"missed: {', '.join(missed)}" if missed else "passed"


def _describe_pair(pair: GoldenPair) -> list[str]:
    from launcher.cli.text import table

    rows = []
    for metric, score in pair["metrics"].items():
        interval = f"{score['low'] * 100:+.1f} to {score['high'] * 100:+.1f}"
        chance = "-" if score["p_value"] is None else f"{score['p_value']:.3g}"
        changed = f"{score['better']} better, {score['worse']} worse"
        change = f"{score['difference'] * 100:+.1f}"
        rows.append((metric, f"{score['first']:.3f}", f"{score['second']:.3f}", change, interval, chance, changed))
    head = f"golden set, {pair['prompts']} prompts: {pair['second']} against {pair['first']}"
    header = ("metric", "first", "second", "points", "95 % interval", "p", "prompts")
    lines = [head, table(header, rows)]
    flips = pair["flipped"]
    for flip in flips[:SHOWN_FLIPS]:
        word = "better" if flip["second_score"] > flip["first_score"] else "worse"
        said = f"{_short(flip['first'])} -> {_short(flip['second'])}, right: {_short(flip['targets'][0])}"
        lines.append(f"  {flip['id']} {word}: {said}")
    if len(flips) > SHOWN_FLIPS:
        lines.append(f"  and {len(flips) - SHOWN_FLIPS} more that flipped: --json or --html shows all")
    return lines


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return repr(text if len(text) <= 40 else text[:39] + "…")
