"""The telemetry of a run as columns: what was logged, evaluated and saved, step by step, exactly as it was written."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from launcher.records.events import Event

LOG_COLUMNS = (
    "step",
    "time",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "peak_memory_gib",
    "peak_allocated_gib",
    "device_gib",
    "loss_scale",
    "skipped_steps",
)
EVAL_COLUMNS = ("step", "time", "epoch", "eval_loss", "seconds")


class Begin(TypedDict):
    """Where an attempt at the training began."""

    step: int
    time: float | None


class LoggedStep(Event):
    """A logged step or evaluation; ``superseded`` is 1 where a later attempt did it again."""

    superseded: int


@dataclass
class Series:
    """Columns of equal length by name; a value that was not logged, or was not finite, is None. Times are Unix seconds.

    The column ``superseded`` is 1 for a record that a later attempt did again from an earlier checkpoint.
    """

    logs: dict[str, list[Any]] = field(default_factory=dict)
    evals: dict[str, list[Any]] = field(default_factory=dict)
    saves: list[int] = field(default_factory=list)
    begins: list[Begin] = field(default_factory=list)
    total_steps: int | None = None

    def kept(self, name: str) -> list[float]:
        """The finite values of a logged column that no later attempt superseded, in order."""
        return _kept(self.logs, name)

    def kept_evals(self) -> list[float]:
        """The evaluation losses that no later attempt superseded, in order."""
        return _kept(self.evals, "eval_loss")

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; columns in which nothing was ever logged are left out."""
        return {
            "logs": _used(self.logs),
            "evals": _used(self.evals),
            "saves": self.saves,
            "begins": self.begins,
            "total_steps": self.total_steps,
        }


def read_series(events: Iterable[Event]) -> Series:
    """The records of events.jsonl, in the order in which they were written."""
    logs: list[LoggedStep] = []
    evals: list[LoggedStep] = []
    series = Series()
    saves: dict[int, None] = {}
    for event in events:
        match event.get("event"):
            case "train_begin":
                step = event.get("step") or 0
                _supersede(logs, step)
                _supersede(evals, step)
                saves = {saved: None for saved in saves if saved <= step}
                series.begins.append({"step": step, "time": event.get("time")})
                series.total_steps = event.get("max_steps")
            case "log":
                logs.append({**event, "superseded": 0})
            case "eval":
                evals.append({**event, "superseded": 0})
            case "save":
                saves[event["step"] or 0] = None
    series.logs = _columns(logs, (*LOG_COLUMNS, "superseded"))
    series.evals = _columns(evals, (*EVAL_COLUMNS, "superseded"))
    series.saves = list(saves)
    return series


def sample(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` values that show the same curve: the mean of each of ``most`` equal stretches."""
    if len(values) <= most:
        return list(values)
    edges = [round(index * len(values) / most) for index in range(most + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]


def _supersede(records: list[LoggedStep], step: int) -> None:
    for record in reversed(records):
        if (record.get("step") or 0) > step:
            record["superseded"] = 1
        elif not record["superseded"]:
            return


def _columns(records: Sequence[LoggedStep], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [record.get(name) for record in records] for name in names}


def _used(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {
        name: values for name, values in columns.items() if any(value is not None for value in values) or name == "step"
    }


def _kept(columns: Mapping[str, list[Any]], name: str) -> list[float]:
    pairs = zip(columns.get(name, ()), columns.get("superseded", ()), strict=True)
    return [float(value) for value, superseded in pairs if value is not None and not superseded]
