"""``ql launch --method both``: QLoRA and LoRA on the same job, and which of the two to take."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import HERE

if TYPE_CHECKING:
    from launcher.preparing.asked import Asked
    from launcher.preparing.both import Both
    from launcher.records.events import Event, Message
    from launcher.records.run import Repair
    from launcher.runs.launch import LaunchOptions


def run_both(
    asked: Asked, options: LaunchOptions, place: str, *, usd_per_hour: float | None, dry_run: bool, as_json: bool
) -> None:
    """Plan both, run both, print their comparison. Exits 1 when the run that is recommended misses a gate."""
    from launcher.preparing.both import prepare_both
    from launcher.preparing.prepared import require_scored
    from launcher.runs.both import launch_both

    if place != HERE:
        raise click.UsageError(f"--method both runs one after the other and compares them: not with --on {place}")
    both = prepare_both(asked, usd_per_hour=usd_per_hour, merge=options.merge)
    require_scored(both.qlora.gates, merge=options.merge)
    if dry_run:
        _show_dry_run(both, as_json)
        return
    observers = {method: _Observer(both, method) for method in ("qlora", "lora")}
    try:
        runs, facts = launch_both(both, options, observers)
    except KeyboardInterrupt:
        click.echo("stopped by Ctrl-C", err=True)
        sys.exit(130)
    finally:
        for observer in observers.values():
            observer.close()
    from launcher.cli.compare import describe_comparison

    click.echo(json.dumps(facts, indent=2) if as_json else describe_comparison(facts))
    if not as_json:
        click.echo(f"page: {runs[-1].path / 'comparison.html'}", err=True)
    taken = facts["trade"]["run"] if facts["trade"] else runs[0].path.name
    chosen = next(run for run in runs if run.path.name == taken)
    if any(not gate.passed for gate in chosen.record.gates):
        sys.exit(1)


class _Observer:
    """The progress of one of the two runs; its view begins when the run does, so that one is drawn at a time."""

    def __init__(self, both: Both, method: str) -> None:
        self.prepared = both.qlora if method == "qlora" else both.lora
        self.view: Any = None

    def _open(self) -> Any:
        if self.view is None:
            from launcher.cli.progress import make_progress
            from launcher.cli.watch import Known

            self.view = make_progress(Known(plan=self.prepared.plan.to_dict(), estimate=self.prepared.estimate))
            self.view.note(f"{self.prepared.plan.method}, one of two runs")
        return self.view

    def stage(self, name: str, state: str, note: str = "") -> None:
        self._open().stage(name, state, note)
        if name == "report" and state != "running":
            self.close()

    def telemetry(self, event: Event) -> None:
        self._open().telemetry(event)

    def progress(self, stage: str, message: Message) -> None:
        self._open().progress(stage, message)

    def warning(self, text: str) -> None:
        self._open().warning(text)

    def note(self, text: str) -> None:
        self._open().note(text)

    def repair(self, record: Repair) -> None:
        self._open().repair(record)

    def close(self) -> None:
        if self.view is not None:
            self.view.close()


def _show_dry_run(both: Both, as_json: bool) -> None:
    from launcher.runs.launch import dry_run

    if as_json:
        click.echo(json.dumps({one.plan.method: dry_run(one) for one in both.each}, indent=2))
        return
    from launcher.cli.presets import show_plan
    from launcher.cli.text import duration, table, usd
    from launcher.report.page import show

    qlora, lora = both.qlora.plan, both.lora.plan
    show_plan(qlora)
    differ = [key for key in qlora.reasons if getattr(qlora, key) != getattr(lora, key)]
    rows = [(key, *(show(getattr(plan, key)) for plan in (qlora, lora))) for key in differ]
    for name, key, form in (
        ("memory, GiB", "peak_gib", lambda value: f"{value:.1f}"),
        ("tokens/s", "tokens_per_second", lambda value: f"{value:,.0f}"),
        ("time", "hours", lambda value: duration(value * 3600)),
        ("cost", "usd", usd),
    ):
        values = [getattr(one.estimate, key) for one in both.each]
        if None not in values:
            rows.append((name, *(form(value) for value in values)))
    click.echo("\n" + table(("what differs", "qlora", "lora"), rows))
