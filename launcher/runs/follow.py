"""Watch a run from outside: what its process tells its observer, told again from what it writes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher.files import replace_text
from launcher.processes.events import Events
from launcher.records.events import Event, Message
from launcher.records.run import Repair, Stage
from launcher.runs.events import EVENTS
from launcher.runs.lock import is_locked
from launcher.runs.observer import Observer
from launcher.runs.run import Run, open_run

PROGRESS = "progress.json"
POLL = 0.5  # seconds between two looks
INTERVAL = 1.0  # seconds between two writes of a worker's progress


def follow(path: Path, observer: Observer, *, poll: float = POLL, pause: Callable[[float], object] = time.sleep) -> str:
    """Tell ``observer`` all that has happened in the run, then what happens, until no process works on it.

    Returns how it stands then: ``finished``, ``failed``, ``stopped``, or ``interrupted`` when its process died without
    a word. Only reads; any number may follow a run. Raises Unreadable when there is no run in ``path``.
    """
    teller = _Teller(path, observer)
    while True:
        alive = is_locked(path)  # looked at first: what was written before it was let go is still told
        state = teller.tell(open_run(path))
        if not alive:
            return "interrupted" if state == "running" else state
        pause(poll)


class _Teller:
    """Remembers what was told, so that each thing is told once."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self.path, self.observer = path, observer
        self.events = Events(path / EVENTS)
        self.events.position = 0
        self.states: dict[str, str] = {}
        self.warnings = self.notes = 0
        self.progress: Any = None

    def tell(self, run: Run) -> str:
        stages = run.record.stages
        for stage in stages:
            if stage.state != "pending" and stage.name == "train":
                self._stage(stage, only="running")
                self._events()  # between the stage's start and its end, as it happened
            if stage.state != "pending":
                self._stage(stage)
        for warning in run.record.warnings[self.warnings :]:
            self.observer.warning(warning)
        self.warnings = len(run.record.warnings)
        notes = run.record.notes
        for note in notes[self.notes :]:
            self.observer.note(note)
        self.notes = len(notes)
        self._events()
        running = next((stage.name for stage in stages if stage.state == "running"), None)
        self._progress(running)
        return run.record.state

    def _stage(self, stage: Stage, only: str | None = None) -> None:
        name, state = stage.name, stage.state
        if self.states.get(name) is None and state not in ("skipped", "running"):
            self.states[name] = "running"
            self.observer.stage(name, "running")
        if only is None and self.states.get(name) != state:
            self.states[name] = state
            self.observer.stage(name, state, stage.reason or "")
        elif only == state and self.states.get(name) is None:
            self.states[name] = state
            self.observer.stage(name, state)

    def _events(self) -> None:
        for event in self.events:
            if event.get("event") == "repair":
                self.observer.repair(_repair(event))
            else:
                self.observer.telemetry(event)

    def _progress(self, stage: str | None) -> None:
        try:
            written = json.loads((self.path / PROGRESS).read_text(encoding="utf-8"))
            name, message = written["stage"], written["message"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return
        if name == stage and written != self.progress and isinstance(message, dict):
            self.progress = written
            heard: Any = message
            self.observer.progress(name, heard)


def _repair(event: Event) -> Repair:
    """The repair that an event tells of."""
    return Repair(
        time="",
        stage=event.get("stage", ""),
        kind=event.get("kind", ""),
        cause=event.get("cause", ""),
        action=event.get("action", ""),
        step=event.get("step"),
        before=event.get("before"),
        after=event.get("after"),
    )


class Recording:
    """An observer in front of another: a worker's progress is written down for those who follow the run.

    What goes wrong in showing is no reason to end a run: a terminal that was closed is not written to any more.
    """

    def __init__(self, path: Path, shown: Observer) -> None:
        self.path, self.shown = path, shown
        self.written = 0.0
        self.deaf = False

    def _show(self, method: Callable[..., None], *arguments: Any) -> None:
        if self.deaf:
            return
        try:
            method(*arguments)
        except OSError:  # EIO or EPIPE: whoever watched has gone
            self.deaf = True

    def stage(self, name: str, state: str, note: str = "") -> None:
        self._show(self.shown.stage, name, state, note)

    def telemetry(self, event: Event) -> None:
        self._show(self.shown.telemetry, event)

    def repair(self, record: Repair) -> None:
        self._show(self.shown.repair, record)

    def warning(self, text: str) -> None:
        self._show(self.shown.warning, text)

    def note(self, text: str) -> None:
        self._show(self.shown.note, text)

    def progress(self, stage: str, message: Message) -> None:
        now = time.monotonic()
        if now - self.written >= INTERVAL:
            self.written = now
            with contextlib.suppress(OSError, ValueError):  # only for those who watch
                replace_text(self.path / PROGRESS, json.dumps({"stage": stage, "message": message}))
        self._show(self.shown.progress, stage, message)
