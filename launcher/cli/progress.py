"""The run as it goes: a live line per stage on a terminal, one plain line per event when piped."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from launcher.cli.text import duration

PLAIN_INTERVAL = 5.0  # seconds between two plain lines of the same kind


class PlainProgress:
    """One line per stage and evaluation, and a line of losses every few seconds: for pipes and CI logs."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.last = 0.0
        self.total_steps: int | None = None

    def stage(self, name: str, state: str, note: str = "") -> None:
        if state == "running":
            self.began[name] = time.monotonic()
            self._say(f"{name} …")
            return
        took = f" in {duration(time.monotonic() - self.began[name])}" if name in self.began else ""
        self._say(f"{name} {state}{took}{': ' + note if note else ''}")

    def telemetry(self, event: dict[str, Any]) -> None:
        if event.get("event") == "train_begin":
            self.total_steps = event.get("max_steps")
        elif event.get("event") == "eval":
            self._say(f"  step {event['step']}: eval loss {_number(event.get('eval_loss'))}")
        elif event.get("event") == "log" and time.monotonic() - self.last >= PLAIN_INTERVAL:
            self.last = time.monotonic()
            self._say("  " + describe_step(event, self.total_steps))

    def progress(self, stage: str, message: dict[str, Any]) -> None:
        if time.monotonic() - self.last >= PLAIN_INTERVAL:
            self.last = time.monotonic()
            self._say(f"  {stage}: {_describe_progress(message)}")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def repair(self, record: dict[str, Any]) -> None:
        self._say(f"repaired: {record.get('cause')}; {record.get('action')}")

    def close(self) -> None:
        """Nothing to tidy up."""

    def _say(self, text: str) -> None:
        click.echo(text, err=True)


class LiveProgress(PlainProgress):
    """A single line that is rewritten in place below the lines that stay."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self.text = Text
        self.console = Console(stderr=True)
        self.live = Live(Text(""), console=self.console, refresh_per_second=8, transient=True)
        self.live.start()
        self.eval_loss: float | None = None
        self.train_began = 0.0

    def telemetry(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "train_begin":
            self.total_steps = event.get("max_steps")
            self.train_began = time.monotonic()
        elif kind == "eval":
            self.eval_loss = event.get("eval_loss")
            self._say(f"  step {event['step']}: eval loss {_number(self.eval_loss)}")
        elif kind == "log":
            line = describe_step(event, self.total_steps)
            if self.eval_loss is not None:
                line += f"  eval {_number(self.eval_loss)}"
            left = self._time_left(event)
            self.live.update(self.text(f"  {line}{left}", no_wrap=True, overflow="ellipsis"))

    def _time_left(self, event: dict[str, Any]) -> str:
        step = event.get("step") or 0
        if not self.total_steps or not step:
            return ""
        passed = time.monotonic() - self.train_began
        return f"  {duration(passed / step * (self.total_steps - step))} left"

    def progress(self, stage: str, message: dict[str, Any]) -> None:
        self.live.update(self.text(f"  {stage}: {_describe_progress(message)}", no_wrap=True, overflow="ellipsis"))

    def close(self) -> None:
        self.live.stop()

    def _say(self, text: str) -> None:
        self.live.update(self.text(""))
        self.console.print(text, highlight=False, markup=False)


def make_progress() -> PlainProgress:
    """Live on a terminal, plain lines everywhere else."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def describe_step(event: dict[str, Any], total_steps: int | None) -> str:
    """One logged step in words: step, epoch, loss, learning rate, tokens/s, memory in GiB."""
    parts = [f"step {event.get('step')}" + (f"/{total_steps}" if total_steps else "")]
    if event.get("epoch") is not None:
        parts.append(f"epoch {event['epoch']:.2f}")
    parts.append(f"loss {_number(event.get('loss'))}")
    for key, unit in (("tokens_per_second", "tok/s"), ("peak_memory_gib", "GiB")):
        value = event.get(key)
        if isinstance(value, int | float):
            parts.append(f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}")
    return "  ".join(parts)


def _describe_progress(message: dict[str, Any]) -> str:
    done, total = message.get("done"), message.get("total")
    counted = f"{done}/{total}" if done is not None and total else ""
    return " ".join(part for part in (str(message.get("text") or ""), counted) if part) or "working"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
