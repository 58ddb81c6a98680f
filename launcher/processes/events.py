"""events.jsonl, read as it grows, and what it says about a finished training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from launcher.processes.checkpoints import TrainerState
from launcher.processes.faults import TrainerFailed
from launcher.records.events import Event
from launcher.records.run import Training


class _End(TypedDict):
    """How a training ended."""

    step: int
    seconds: float
    tokens: int
    skipped_steps: int
    best_checkpoint: str | None
    peak_memory_gib: float | None
    peak_allocated_gib: float | None


class Events:
    """Reads events.jsonl as it grows; a line that is still being written waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = path.stat().st_size if path.exists() else 0

    def __iter__(self) -> Iterator[Event]:
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self.position)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self.position += len(line)
                try:
                    event: Event = json.loads(line)
                    if isinstance(event, dict) and isinstance(event.get("event"), str):
                        yield event
                except (
                    ValueError,
                    RecursionError,
                ):  # cut by a crash; the next attempt's first event may stand behind it
                    continue


def training_facts(folder: Path) -> Training:
    """What the telemetry says about a finished training: steps, losses, seconds, peaks in GiB.

    Raises TrainerFailed when the trainer ended without an end of training, or before its last step; early stopping is
    no failure.
    """
    attempts = _attempts(folder)
    last = attempts[-1] if attempts else []
    end = next((event for event in last if event["event"] == "train_end"), None)
    log_file = f"its output is in {folder / 'train.log'}"
    if end is None:
        said = "in the midst of" if attempts else "without"
        raise TrainerFailed(f"the trainer ended {said} training", kind="exit" if attempts else "broken", hint=log_file)
    if end["stopped"] or ((end["step"] or 0) < end["max_steps"] and not end.get("ended_early")):
        raise TrainerFailed(
            f"training stopped at step {end['step']} of {end['max_steps']}",
            kind="exit",
            step=end["step"],
            hint=log_file,
        )
    return _facts(attempts, _end(end))


def facts_of_checkpoint(folder: Path, state: TrainerState) -> Training:
    """The same of a training that ended with its last checkpoint; ``state`` is that checkpoint's trainer_state.json."""
    attempts = _attempts(folder)
    trained = [attempt for attempt in attempts if any(event["event"] == "log" for event in attempt)]
    # An evaluation that was left out for a stop may have been made up since, by a process that trained nothing.
    made_up = [event for attempt in attempts if attempt not in trained for event in attempt if event["event"] == "eval"]
    last = trained[-1] if trained else []
    best = state.best_model_checkpoint
    logs = [event for event in last if event["event"] == "log"]
    end: _End = {
        "step": state.global_step,
        "seconds": round(_seconds(last), 3),
        "tokens": sum(event.get("tokens") or 0 for event in logs),
        "skipped_steps": max((event.get("skipped_steps") or 0 for event in logs), default=0),
        "best_checkpoint": Path(best).name if best else None,
        "peak_memory_gib": max((gib for event in logs if (gib := event["peak_memory_gib"]) is not None), default=None),
        "peak_allocated_gib": max((event.get("peak_allocated_gib") or 0.0 for event in logs), default=0.0) or None,
    }
    return _facts([*trained[:-1], [*last, *made_up]], end)


def _attempts(folder: Path) -> list[list[Event]]:
    """The events of each start of the training; a resumed run has several."""
    events = Events(folder / "events.jsonl")
    events.position = 0
    attempts: list[list[Event]] = []
    for event in events:
        if event["event"] == "train_begin":
            attempts.append([])
        if attempts:
            attempts[-1].append(event)
    return attempts


def _end(event: Event) -> _End:
    return {
        "step": event["step"] or 0,
        "seconds": event["seconds"],
        "tokens": event["tokens"] or 0,
        "skipped_steps": event["skipped_steps"],
        "best_checkpoint": event["best_checkpoint"],
        "peak_memory_gib": event["peak_memory_gib"],
        "peak_allocated_gib": event.get("peak_allocated_gib"),
    }


def _facts(attempts: list[list[Event]], end: _End) -> Training:
    everything = [event for attempt in attempts for event in attempt]
    logs = [event for event in everything if event["event"] == "log"]
    last = [event for event in attempts[-1] if event["event"] == "log"] if attempts else []
    # A step that was trained again after a resume counts once, as it was trained last.
    tokens = {event["step"]: event.get("tokens") or 0 for event in logs}
    evaluations = {event["step"]: event for event in everything if event["event"] == "eval"}
    # The first step warms up and the second may compile.
    rates = [rate for event in last[2:] if (rate := event.get("tokens_per_second"))]
    losses = [
        event["eval_loss"]
        for event in evaluations.values()
        if isinstance(event["eval_loss"], float) and not event.get("trial")
    ]
    return Training(
        steps=end["step"],
        seconds=round(end["seconds"] + sum(_seconds(attempt) for attempt in attempts[:-1]), 3),
        tokens=end["tokens"] if len(attempts) == 1 else sum(tokens.values()),
        final_loss=logs[-1].get("loss") if logs else None,
        best_eval_loss=min(losses, default=None),
        best_checkpoint=end["best_checkpoint"],
        skipped_steps=end["skipped_steps"],
        tokens_per_second=sorted(rates)[len(rates) // 2] if rates else None,
        peak_memory_gib=max((e["peak_memory_gib"] for e in [*logs, end] if e["peak_memory_gib"]), default=None),
        peak_allocated_gib=end["peak_allocated_gib"],
        device_gib=max((event.get("device_gib") or 0.0 for event in logs), default=0.0) or None,
    )


def _seconds(attempt: list[Event]) -> float:
    """How long an attempt trained that did not end by itself."""
    times = [
        event["time"]
        for event in attempt
        if event["event"] not in ("repair", "resume") and isinstance(event.get("time"), int | float)
    ]
    return max(times) - min(times) if times else 0.0
