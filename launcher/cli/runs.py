"""``ql runs``: the runs there are, or one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir
from launcher.cli.text import usd

if TYPE_CHECKING:
    from launcher.records.summary import Summary
    from launcher.runs.run import Run


@click.command()
@click.argument("run", required=False, shell_complete=complete.runs)
@click.option("--follow", is_flag=True, help="Show RUN as it goes, until it ends; leaving does not stop it.")
@runs_dir
@json_option
def command(run: str | None, follow: bool, runs_dir: Path, as_json: bool) -> None:
    """List the runs, or show RUN: a name, a path, or `latest`."""
    from launcher.errors import Unreadable
    from launcher.runs.results.summary import summarise
    from launcher.runs.run import list_runs, open_run

    if run is None and follow:
        run = "latest"
    if run is not None:
        if follow:
            _follow(open_run(run, runs_dir))
        found = open_run(run, runs_dir)
        facts, place = summarise(found), _place(found)
        if as_json:
            click.echo(json.dumps(facts.to_dict() | ({"place": place} if place else {}), indent=2))
            return
        click.echo(describe(facts))
        if place:
            click.echo(f"place: {place['place']}, {place['state']} ({place['words']}), since {place['submitted']}")
        return
    damaged: list[Unreadable] = []
    every = []
    for found in list_runs(runs_dir, damaged.append):
        try:
            every.append(summarise(found))
        except Unreadable as error:
            damaged.append(error)
    for found_bad in damaged:  # one damaged run does not hide the others, nor is it hidden
        click.echo(f"warning: {found_bad}", err=True)
    if as_json:
        click.echo(json.dumps([facts.to_dict() for facts in every], indent=2))
        return
    if not every:
        click.echo(f"no {'readable ' if damaged else ''}runs in {runs_dir}/", err=True)
        return
    from launcher.cli.text import duration, table

    rows = [
        (
            facts.name,
            facts.state,
            _score(facts),
            _curve(facts),
            duration(facts.seconds),
            "-" if facts.usd is None else usd(facts.usd),
            f"{facts.method} with {facts.backend}",
        )
        for facts in every
    ]
    click.echo(table(("run", "state", "score", "loss", "time", "cost", "trained as"), rows))


def _place(run: Run) -> dict[str, str] | None:
    """Where the run was submitted, and how it stands there; None where it was not."""
    from dataclasses import asdict

    from launcher.errors import Unreadable
    from launcher.places import get_place, read_submitted

    try:
        told = read_submitted(run.path)
        if told is None:
            return None
        state = get_place(told.place).state(run.path, told.handle)
    except Unreadable as error:  # it must not hide the run
        click.echo(f"warning: {error}", err=True)
        return None
    return {**asdict(told), "state": state.kind, "words": state.words}


def _curve(facts: Summary) -> str:
    from launcher.cli.glyphs import spark

    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    return spark(facts.curve.loss or facts.curve.eval_loss, 16, ascii_only=ascii_only)


def _follow(run: Run) -> None:
    from launcher.cli.progress import make_progress
    from launcher.cli.watch import Known
    from launcher.runs.follow import follow

    progress = make_progress(Known.of(run.record))
    try:
        follow(run.path, progress)
    finally:
        progress.close()


def _score(facts: Summary) -> str:
    golden = facts.golden
    for subject in ("merged", "adapter"):
        scores = golden.get(subject)
        if scores and "exact_match" in scores:
            return f"{scores['exact_match']:.2f} exact match"
    loss = facts.best_eval_loss
    return f"{loss:.3f} eval loss" if loss is not None else "-"


def describe(facts: Summary) -> str:
    """A run in words: stages, scores, gates, merge."""
    from launcher.cli.progress import describe_repair
    from launcher.cli.text import duration, table

    lines = [f"{facts.name}: {facts.state}", f"  {facts.path}", ""]
    rows = [
        (
            stage.name,
            stage.state,
            duration(stage.seconds) if stage.seconds is not None else "",
            stage.reason or stage.error or "",
        )
        for stage in facts.stages
    ]
    lines.append(table(("stage", "state", "time", ""), rows))
    if facts.golden:
        metrics = list(next(iter(facts.golden.values())))
        scores = [
            (subject, *(f"{values[metric]:.3f}" if metric in values else "-" for metric in metrics))
            for subject, values in facts.golden.items()
        ]
        lines += ["", table(("golden set", *metrics), scores)]
    for gate in facts.gates:
        lines.append(f"gate {gate.gate}: {'passed' if gate.passed else 'MISSED'} ({gate.reason})")
    if facts.merge:
        merge = facts.merge
        said = [f"merge: {merge.base} base + adapter in {merge.dtype}"]
        if merge.delta_error is not None:
            said.append(f"delta off by {merge.delta_error:.2%} after rounding")
        if merge.kl is not None and merge.top1_agreement is not None:
            said.append(f"KL {merge.kl:.1e}, top-1 agreement {merge.top1_agreement:.1%} with the unmerged model")
        lines += ["", "; ".join(said)]
    lines += [f"repair: {describe_repair(repair)}" for repair in facts.repairs]
    if facts.usd is not None and facts.price is not None:
        price = facts.price
        lines.append(f"cost: {usd(facts.usd)} at {usd(price.usd_per_hour)} an hour ({price.source})")
    lines += [f"warning: {warning}" for warning in facts.warnings]
    lines += [f"note: {note}" for note in facts.notes]
    return "\n".join(lines)
