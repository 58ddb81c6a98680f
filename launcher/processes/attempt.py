"""One run of a trainer's process, watched: its events passed on, a stall noticed, a stop asked for and waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from launcher.processes.events import Events
from launcher.processes.faults import TrainerFailed, explain, from_fault, steps_of
from launcher.records.events import Event

POLL = 0.2  # seconds between two looks
STARTING = 1800.0  # seconds without a sign of life while data is tokenised and weights are loaded
MULTIPLE = 10.0  # times the longest of the usual pauses between two pieces of work
USUAL = 50  # pieces of work that are looked back at
DUMP = 3.0  # seconds that a stalled trainer has to write its stacks


class Heartbeat:
    """When the trainer last did something: the file it touches, or, before its first step, its log."""

    def __init__(self, folder: Path, floor: float | None) -> None:
        self.beat, self.log, self.floor = folder / "trainer" / "beat", folder / "train.log", floor
        self.seen: int | None = None  # mtime of the beat, in ns
        self.at = time.monotonic()
        self.pauses: deque[float] = deque(maxlen=USUAL)
        self.size = -1

    def silent_for(self) -> float:
        """Seconds since the last sign of life."""
        now = time.monotonic()
        try:
            beat = self.beat.stat().st_mtime_ns
        except OSError:
            beat = None
        if beat != self.seen:
            if self.seen is not None:
                self.pauses.append(now - self.at)
            self.seen, self.at = beat, now
        elif beat is None:
            size = self.log.stat().st_size if self.log.exists() else 0
            if size != self.size:
                self.size, self.at = size, now
        return now - self.at

    @property
    def limit(self) -> float | None:
        """Seconds of silence that are too many; None when nobody wants to know."""
        if self.floor is None:
            return None
        if self.seen is None:
            return max(self.floor, STARTING)
        return max(self.floor, MULTIPLE * max(self.pauses, default=0.0))


class Attempt:
    """Sees a trainer's process to its end, whichever that is."""

    def __init__(
        self,
        name: str,
        folder: Path,
        process: subprocess.Popen[str],
        events: Events,
        on_event: Callable[[Event], None],
        stall_seconds: float | None,
        stop_seconds: float,
    ) -> None:
        self.name, self.folder, self.process = name, folder, process
        self.events, self.on_event, self.stop_seconds = events, on_event, stop_seconds
        self.heart = Heartbeat(folder, stall_seconds)
        self.heard: list[Event] = []

    def see_to_its_end(self) -> None:
        """Returns when the trainer has ended by itself and well, as far as its exit code says.

        Raises TrainerFailed. What interrupts us (Ctrl-C, SIGTERM) goes on up once the trainer has saved what it has, or
        its time is over; a second Ctrl-C goes up at once. Whoever started the process ends what is left of it.
        """
        try:
            while self.process.poll() is None:
                self.look()
                time.sleep(POLL)
            self.look()
        except TrainerFailed:
            raise
        except BaseException as interruption:
            self.stop(at_once=isinstance(interruption, SystemExit))
            raise
        if self.process.returncode:
            raise explain(self.name, self.process.returncode, self.folder, self.heard)

    def look(self) -> None:
        """Pass on what is new. Raises TrainerFailed for a fault that the callback reports, and for a stall."""
        for event in self.events:
            self.heard.append(event)
            self.on_event(event)
            if event.get("event") == "fault":
                raise from_fault(self.name, event, self.folder)
        silent, limit = self.heart.silent_for(), self.heart.limit
        if limit is not None and silent > limit:
            raise self.stalled(silent)

    def stalled(self, silent: float) -> TrainerFailed:
        if self.heart.seen is not None and hasattr(signal, "SIGUSR1"):  # before, nobody would catch it
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(DUMP)
        steps = steps_of(self.heard)
        where = f"its stacks are in {self.folder / 'train.log'}"
        evidence = {"silent_seconds": round(silent, 1), "usual_seconds": round(max(self.heart.pauses, default=0.0), 1)}
        message = f"{self.name} has done nothing for {silent:.0f} s"
        return TrainerFailed(message, kind="stall", step=max(steps, default=None), evidence=evidence, hint=where)

    def stop(self, *, at_once: bool) -> None:
        """Ask for a checkpoint, and wait until it is written and sealed; not longer than ``stop_seconds``.

        ``at_once``: the machine will be taken away; an evaluation is left out, and nothing is waited for where nothing
        has been trained. Else the time counts from the trainer's last sign of life: an evaluation may take as long as
        it takes.
        """
        if at_once and not self.heart.beat.exists():
            return
        with contextlib.suppress(OSError):  # a full disk: there will be no checkpoint either
            (self.folder / "trainer" / "stop").write_text("now" if at_once else "", encoding="utf-8")
        begin = time.monotonic()
        asked = False
        while self.process.poll() is None:
            waited = time.monotonic() - begin
            if (waited if at_once else min(waited, self.heart.silent_for())) > self.stop_seconds:
                return
            for event in self.events:
                self.on_event(event)
                if event.get("event") == "stop":
                    asked = True
                    if event.get("saves") is False:
                        return
                if asked and event.get("event") == "save":
                    return  # what it would still do, such as loading the best checkpoint, is done after a resume
            time.sleep(POLL)
