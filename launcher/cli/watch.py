"""What is known of a run while it goes: fed with what an observer hears, asked by the views that show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from launcher.cli.text import duration, usd
from launcher.records.codec import Record
from launcher.records.events import Event, Message
from launcher.records.run import Estimate, Manifest, Stage

OVER_PREDICTION = 1.05  # of the predicted peak: what is above is worth a warning
RISING = 2  # evaluations in a row that are worse than the best one before they are worth a warning
CURVE = 2000  # values kept for a curve on a terminal; of more, every second is dropped


@dataclass
class StageView:
    """How one stage stands; times in seconds, ``began`` as a Unix time."""

    state: str = "pending"
    began: float | None = None
    seconds: float | None = None
    done: float | None = None  # of total; a share of 1 where the stage tells only that
    total: int | None = None
    left: float | None = None  # seconds, where the stage tells them itself
    text: str = ""


@dataclass(kw_only=True)
class Known(Record):
    """What is known of a run before it is watched; of one that had begun, when, and how its stages stood."""

    plan: dict[str, object] = field(default_factory=dict)
    estimate: Estimate = field(default_factory=Estimate)
    created: str | None = None
    stages: list[Stage] = field(default_factory=list)

    @staticmethod
    def of(record: Manifest) -> Known:
        estimate = record.estimate or Estimate()
        return Known(plan=record.plan, estimate=estimate, created=record.created, stages=record.stages)


@dataclass
class RunWatch:
    """The state of a run.

    Times are Unix seconds, so that a run can be watched from its middle. Every method that returns text returns what is
    worth a line of its own, None otherwise.
    """

    facts: Known = field(default_factory=Known)
    clock: Callable[[], float] = time.time
    stages: dict[str, StageView] = field(default_factory=dict)
    last: Event = field(default_factory=Event)  # the newest log record
    losses: list[float] = field(default_factory=list)
    evals: list[float] = field(default_factory=list)
    total_steps: int | None = None
    train_began: tuple[float, int] | None = None  # Unix seconds, step
    train_ended: bool = False
    messages: list[tuple[str, str]] = field(default_factory=list)  # (kind, text): warning, repair, note
    peak_gib: float | None = None

    def __post_init__(self) -> None:
        created = self.facts.created
        self.began = datetime.fromisoformat(created).timestamp() if created else self.clock()
        self._known: dict[str, Stage] = {stage.name: stage for stage in self.facts.stages if stage.state != "pending"}
        self._said: set[str] = set()
        self._over = False  # the predicted memory, as was said
        self._best: float | None = None  # the evaluation loss that was said to be bettered no more
        self._thinned = 1
        self._seen = 0

    # what happened

    def stage(self, name: str, state: str) -> StageView:
        view = self.stages.setdefault(name, StageView())
        view.state = state
        known = self._known.get(name)  # what happened before we began to watch has its times in the manifest
        if state == "running":
            started = known and known.started
            view.began = datetime.fromisoformat(started).timestamp() if started else self.clock()
            view.seconds, view.done, view.total, view.left = None, None, None, None
        elif known and known.state == state and known.seconds is not None:
            view.seconds = known.seconds
        elif view.began is not None:
            view.seconds = self.clock() - view.began
        return view

    def progress(self, stage: str, message: Message) -> None:
        view = self.stages.setdefault(stage, StageView("running", self.clock()))
        view.done, view.total = message.get("done"), message.get("total")
        view.left = message.get("seconds_left")
        if isinstance(message.get("fraction"), int | float):  # as the merge says it
            view.done, view.total = float(message["fraction"]), 1
        view.text = str(message.get("text") or "")

    def telemetry(self, event: Event) -> list[str]:
        """Take a record of events.jsonl; the warnings that it gives rise to, each once."""
        kind = event.get("event")
        found: list[str] = []
        if kind == "train_begin":
            self.total_steps = event.get("max_steps")
            self.train_began = (float(event.get("time") or self.clock()), event.get("step") or 0)
            self.train_ended = False
        elif kind == "log":
            found += self._log(event)
        elif kind == "eval" and isinstance(loss := event.get("eval_loss"), int | float) and not event.get("trial"):
            self.evals.append(float(loss))
            found += self._check_rise()
        elif kind == "train_end":
            self.train_ended = True
        elif kind == "error":
            found.append(f"telemetry: {event.get('message')}")
        fresh = [text for text in found if text not in self._said]
        self._said.update(fresh)
        self.messages += [("warning", text) for text in fresh]
        return fresh

    def _log(self, event: Event) -> list[str]:
        skipped_before = self.last.get("skipped_steps") or 0
        self.last = event
        step = event.get("step")
        if isinstance(loss := event.get("loss"), int | float):
            self._seen += 1
            if self._seen % self._thinned == 0:
                self.losses.append(float(loss))
            if len(self.losses) > CURVE:
                self.losses, self._thinned = self.losses[::2], self._thinned * 2
        found = [f"{name} is not finite at step {step}" for name in event.get("nonfinite", ())]
        skipped = event.get("skipped_steps") or 0
        if skipped > skipped_before:
            found.append(f"the loss scaler skipped {skipped} steps by step {step}")
        peak = event.get("device_gib") or event.get("peak_memory_gib")
        if isinstance(peak, int | float):
            self.peak_gib = max(self.peak_gib or 0.0, float(peak))
            predicted = self.estimate.peak_gib
            if predicted and self.peak_gib > predicted * OVER_PREDICTION and not self._over:
                self._over = True
                found.append(f"memory {self.peak_gib:.2f} GiB is over the {predicted:.2f} GiB that were predicted")
        return found

    def _check_rise(self) -> list[str]:
        best = min(self.evals)
        since = len(self.evals) - 1 - self.evals.index(best)
        if since < RISING or best == self._best:
            return []
        self._best = best
        return [f"eval loss has not bettered its {best:.4f} for {since} evaluations"]

    # what follows from it

    @property
    def estimate(self) -> Estimate:
        return self.facts.estimate

    @property
    def plan(self) -> Mapping[str, Any]:
        return self.facts.plan

    @property
    def running(self) -> str | None:
        """The stage that runs, where one does."""
        return next((name for name, view in self.stages.items() if view.state == "running"), None)

    def doing(self) -> str | None:
        """What the stage that runs is at, and for how long, where nothing counts it: what loads tells nothing."""
        name = self.running
        view = self.stages.get(name or "")
        if name is None or view is None or view.began is None or view.total:
            return None
        what = "libraries and weights load"
        if name == "train":
            if self.last and not self.train_ended:
                return None
            what = "the adapter is written" if self.train_ended else f"the trainer starts: {what}"
        elif name in ("prepare", "report"):
            return None
        return f"{what}, {duration(self.clock() - view.began)}"

    @property
    def step(self) -> int:
        return int(self.last.get("step") or (self.train_began[1] if self.train_began else 0))

    @property
    def quarters(self) -> list[float]:
        """Where evaluations and checkpoints fall, as shares of the training: each ``1/evals_per_epoch`` of an epoch."""
        per_epoch = self.plan.get("evals_per_epoch")
        if not per_epoch:
            return []
        epochs = 1.0 if self.plan.get("max_steps") else float(self.plan.get("num_epochs") or 1)
        count = round(per_epoch * epochs)
        return [index / count for index in range(1, count)] if count else []

    def spent(self) -> float:
        """Seconds since the run began."""
        return max(0.0, self.clock() - self.began)

    def left(self) -> float | None:
        """Seconds that are left of the stage that runs, at its pace; None where it cannot be told."""
        name = self.running
        view = self.stages.get(name or "")
        if name == "train" and not self.train_ended:
            if self.train_began is None or not self.total_steps or not self.last:
                return None
            begin, first = self.train_began
            done = self.step - first
            if done <= 0:
                return None
            pace = (float(self.last.get("time") or self.clock()) - begin) / done
            return max(0.0, pace * (self.total_steps - self.step))
        if view and view.left is not None:
            return view.left
        if view and view.began is not None and view.done and view.total:
            return (self.clock() - view.began) / view.done * (view.total - view.done)
        return None

    def left_after(self) -> float | None:
        """Seconds that the stages after the training were predicted to take; None without a prediction."""
        parts = self.estimate.hours_by_part
        if not parts or self.running != "train":
            return None
        return 3600 * sum(float(parts.get(part) or 0) for part in ("golden", "merge"))

    @property
    def usd_per_hour(self) -> float | None:
        return self.estimate.price.usd_per_hour if self.estimate.price else None

    def describe_time(self) -> str:
        """Time spent and left, in words."""
        text = f"{duration(self.spent())} spent"
        left = self.left()
        if left is not None:
            text += f", {duration(left)} left of {self.running}"
            after = self.left_after()
            if after:
                text += f", then about {duration(after)}"
        return text

    def describe_money(self) -> str | None:
        """Money spent and left, in USD; None where the card has no known price."""
        rate = self.usd_per_hour
        if rate is None:
            return None
        text = f"{usd(self.spent() / 3600 * rate)} spent"
        left = self.left()
        if left is not None:
            text += f", about {usd((left + (self.left_after() or 0.0)) / 3600 * rate)} left"
        return f"{text}, at {usd(rate)} an hour"
