"""The run as it goes: a live view on a terminal, plain lines for pipes and CI logs; both from the same watch."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from launcher.cli.text import duration, usd
from launcher.cli.watch import Known, RunWatch
from launcher.records.events import Event, Message
from launcher.records.run import STAGES, Repair

PIPE_INTERVAL = 10.0  # seconds between two plain lines of the same kind
CI_INTERVAL = 30.0  # the same in a CI log, which is read afterwards


class PlainProgress:
    """One line per stage, evaluation, warning and repair, and one of the training every ``interval`` seconds."""

    def __init__(self, facts: Known | None = None, *, interval: float = PIPE_INTERVAL) -> None:
        self.watch = RunWatch(facts or Known())
        self.interval = interval
        self.last = -interval
        self.on_github = os.environ.get("GITHUB_ACTIONS") == "true"

    def stage(self, name: str, state: str, note: str = "") -> None:
        view = self.watch.stage(name, state)
        if state == "running":
            self._say(f"{name} …")
            return
        took = f" in {duration(view.seconds)}" if view.seconds is not None else ""
        self._say(f"{name} {state}{took}{': ' + note if note else ''}")

    def telemetry(self, event: Event) -> None:
        for warning in self.watch.telemetry(event):
            self._warn("warning", warning)
        if event.get("event") == "eval":
            self._say(f"  step {event['step']}: eval loss {_number(event.get('eval_loss'))}")
        elif event.get("event") == "log" and self._due():
            self._say("  " + describe_step(event, self.watch.total_steps) + self._left())

    def progress(self, stage: str, message: Message) -> None:
        self.watch.progress(stage, message)
        if self._due():
            self._say(f"  {stage}: {_describe_progress(message)}")

    def warning(self, text: str) -> None:
        self.watch.messages.append(("warning", text))
        self._warn("warning", text)

    def note(self, text: str) -> None:
        self.watch.messages.append(("note", text))
        self._say(f"note: {text}")

    def repair(self, record: Repair) -> None:
        """Something that went wrong and was mended: a record of the manifest's ``repairs``."""
        text = describe_repair(record)
        self.watch.messages.append(("repair", text))
        self._warn("repair", text)

    def close(self) -> None:
        """Nothing to tidy up."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.interval:
            return False
        self.last = now
        return True

    def _left(self) -> str:
        left, rate = self.watch.left(), self.watch.usd_per_hour
        text = f"  {duration(left)} left" if left is not None else ""
        return text + (f"  {usd(self.watch.spent() / 3600 * rate)}" if rate is not None else "")

    def _warn(self, kind: str, text: str) -> None:
        # GitHub shows what is said so beside the job: https://docs.github.com, "Workflow commands"
        self._say(f"::warning title=ql {kind}::{text}" if self.on_github else f"{kind}: {text}")

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class LiveProgress(PlainProgress):
    """The live view, drawn in place below the lines that stay: stages that ended, warnings, repairs, notes."""

    def __init__(self, facts: Known | None = None) -> None:
        super().__init__(facts)
        from rich.console import Console
        from rich.live import Live

        from launcher.cli.live import LiveView

        for name in STAGES if facts else ():
            self.watch.stage(name, "pending")
        self.console = Console(stderr=True)
        self.live = Live(LiveView(self.watch), console=self.console, refresh_per_second=4, transient=True)
        self.live.start()

    def stage(self, name: str, state: str, note: str = "") -> None:
        if state == "running":
            self.watch.stage(name, state)
        else:
            super().stage(name, state, note)

    def telemetry(self, event: Event) -> None:
        for warning in self.watch.telemetry(event):
            self._warn("warning", warning)

    def progress(self, stage: str, message: Message) -> None:
        self.watch.progress(stage, message)

    def close(self) -> None:
        self.live.stop()

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def make_progress(facts: Known | None = None) -> PlainProgress:
    """The live view on a terminal, plain lines everywhere else: in a pipe, in CI, on a terminal that cannot move up.

    With ``facts`` the view knows quarter epochs, budget, prediction and price.
    """
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if in_ci:
        return PlainProgress(facts, interval=CI_INTERVAL)
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        return LiveProgress(facts)
    return PlainProgress(facts)


def describe_step(event: Event, total_steps: int | None) -> str:
    """One logged step in words: step, epoch, loss, learning rate, gradient norm, tokens/s, memory in GiB."""
    parts = [f"step {event.get('step')}" + (f"/{total_steps}" if total_steps else "")]
    if event.get("epoch") is not None:
        parts.append(f"epoch {event['epoch']:.2f}")
    parts.append(f"loss {_number(event.get('loss'))}")
    for value, name, form in ((event.get("learning_rate"), "lr", ".2e"), (event.get("grad_norm"), "grad", ".3f")):
        if isinstance(value, int | float):
            parts.append(f"{name} {value:{form}}")
    for value, unit in ((event.get("tokens_per_second"), "tok/s"), (event.get("peak_memory_gib"), "GiB")):
        if isinstance(value, int | float):
            parts.append(f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}")
    return "  ".join(parts)


def describe_repair(record: Repair) -> str:
    """A repair in one line: where, what went wrong, what was done."""
    where = record.stage or record.kind or "run"
    if record.step is not None:
        where += f", step {record.step}"
    return f"{where}: {record.cause or record.kind}: {record.action}"


def _describe_progress(message: Message) -> str:
    done, total = message.get("done"), message.get("total")
    counted = f"{done}/{total}" if done is not None and total else ""
    return " ".join(part for part in (str(message.get("text") or ""), counted) if part) or "working"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
