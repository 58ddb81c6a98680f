"""Run a trainer on a run directory: config + overlay in, telemetry out, a final adapter in trainer/."""

from __future__ import annotations

import json
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launcher.backends.process import child, child_environment, tail
from launcher.errors import Problem, RunFailed
from launcher.files import write_atomic
from launcher.resources import PACKAGE

INJECT = PACKAGE / "inject"
POLL = 0.2  # seconds between two looks at events.jsonl
STOP_WAIT = 120.0  # seconds that a trainer gets to write a checkpoint after it was asked to stop
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Overlay:
    """What a launch adds to the exported config: keys of the config, environment variables, and the command."""

    config: dict[str, Any]
    environment: dict[str, str]
    command: list[str]


class Backend(ABC):
    """Starts one trainer. Nothing of it is imported here: it is a process."""

    name: str

    @abstractmethod
    def overlay(self, folder: Path, python: str, changes: Mapping[str, Any], track: Sequence[str] = ()) -> Overlay:
        """What to add to ``folder``/config.yaml for this run, and the command that trains.

        ``changes`` are among what is added, and what makes the trainer log to the trackers ``track``.
        """

    def train(
        self,
        folder: Path,
        *,
        python: str,
        memory_fraction: float | None,
        on_event: OnEvent,
        changes: Mapping[str, Any] | None = None,
        track: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Run the trainer in ``folder`` to its end; the facts of the training come back for the manifest.

        ``changes`` are keys of the config that have another value in this run. ``memory_fraction`` caps the trainer's
        share of the card (None: no cap). ``track`` names trackers. Raises RunFailed with the end of train.log when
        the trainer fails. When we are interrupted, the trainer is asked for a checkpoint first.
        """
        overlay = self._write_overlay(folder, python, memory_fraction, changes or {}, track)
        environment = child_environment(**overlay.environment)
        before = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(INJECT), *([before] if before else [])])
        events = Events(folder / "events.jsonl")
        stop = folder / "trainer" / "stop"
        stop.unlink(missing_ok=True)
        with (folder / "train.log").open("a") as log:
            streams = {"stdout": log, "stderr": subprocess.STDOUT}
            with child(overlay.command, environment=environment, cwd=folder, **streams) as process:  # type: ignore[arg-type]
                try:
                    while process.poll() is None:
                        _pass_on(events, on_event)
                        time.sleep(POLL)
                except BaseException:  # Ctrl-C, SIGTERM: let it save what it has
                    stop.touch()
                    _wait(process, STOP_WAIT)
                    raise
                _pass_on(events, on_event)
        if process.returncode:
            raise RunFailed(explain(self.name, process.returncode, folder))
        return training_facts(folder)

    def _write_overlay(
        self,
        folder: Path,
        python: str,
        memory_fraction: float | None,
        changes: Mapping[str, Any],
        track: Sequence[str],
    ) -> Overlay:
        trainer = folder / "trainer"
        trainer.mkdir(exist_ok=True)
        overlay = self.overlay(folder, python, changes, track)
        allocator = "expandable_segments:True"
        if memory_fraction is not None:
            allocator += f",per_process_memory_fraction:{memory_fraction}"
        overlay.environment.update(
            QL_EVENTS=str(folder / "events.jsonl"),
            QL_STOP=str(trainer / "stop"),
            HF_HUB_OFFLINE="1",  # the base is on this machine by now
            PYTORCH_ALLOC_CONF=allocator,
        )
        head = "# What this run added to config.yaml: keys of the config, environment variables, and the command.\n"
        shown = {"config": overlay.config, "environment": overlay.environment, "command": overlay.command}
        write_atomic(folder / "overlay.yaml", head + yaml.safe_dump(shown, sort_keys=False, width=1000))
        return overlay


EFFECTIVE = "effective.yaml"


def write_effective(folder: Path, changes: Mapping[str, Any], reader: str) -> dict[str, Any]:
    """Write config.yaml with ``changes`` as effective.yaml, which is what ``reader`` is given; its data comes back."""
    config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_bytes())
    head = f"# config.yaml and overlay.yaml together: what {reader} reads.\n"
    merged = config | dict(changes)
    write_atomic(folder / EFFECTIVE, head + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=1000))
    return merged


class Events:
    """Reads events.jsonl as it grows; a line that is still being written waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = path.stat().st_size if path.exists() else 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self.position)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self.position += len(line)
                try:
                    yield json.loads(line)
                except ValueError:  # cut by a crash; the next attempt's first event may stand behind it
                    continue


def _pass_on(events: Events, on_event: OnEvent) -> None:
    for event in events:
        on_event(event)


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return  # the caller stops the group


def training_facts(folder: Path) -> dict[str, Any]:
    """What the telemetry says about a finished training: steps, losses, seconds, peaks in GiB.

    Raises RunFailed when the trainer ended without an end of training, or its optimizer stopped before its last step.
    """
    events = list(_all_events(folder / "events.jsonl"))
    begins = [index for index, event in enumerate(events) if event["event"] == "train_begin"]
    events = events[begins[-1] :] if begins else []  # a resumed run's file holds its earlier attempts too
    end = next((event for event in events if event["event"] == "train_end"), None)
    log_file = f"its output is in {folder / 'train.log'}"
    if end is None:
        raise RunFailed(
            "the trainer ended " + ("in the midst of" if begins else "without") + " training", hint=log_file
        )
    if end["stopped"] or end["step"] < end["max_steps"]:
        raise RunFailed(f"training stopped at step {end['step']} of {end['max_steps']}", hint=log_file)
    logs = [event for event in events if event["event"] == "log"]
    evaluations = [event for event in events if event["event"] == "eval"]
    # The first step warms up and the second may compile.
    rates = [event["tokens_per_second"] for event in logs[2:] if event.get("tokens_per_second")]
    losses = [event["eval_loss"] for event in evaluations if isinstance(event["eval_loss"], float)]
    return {
        "steps": end["step"],
        "seconds": end["seconds"],
        "tokens": end["tokens"],
        "final_loss": logs[-1].get("loss") if logs else None,
        "best_eval_loss": min(losses, default=None),
        "best_checkpoint": end["best_checkpoint"],
        "skipped_steps": end["skipped_steps"],
        "tokens_per_second": sorted(rates)[len(rates) // 2] if rates else None,
        "peak_memory_gib": max((event["peak_memory_gib"] for event in [*logs, end]), default=None),
        "peak_allocated_gib": end.get("peak_allocated_gib"),
        "device_gib": max((event.get("device_gib") or 0.0 for event in logs), default=0.0) or None,
    }


def _all_events(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    events = Events(path)
    events.position = 0
    yield from events


def explain(name: str, code: int, folder: Path) -> list[Problem]:
    """Why a trainer ended badly, as far as its log says."""
    log = folder / "train.log"
    last = tail(log, 40)
    text = "\n".join(last)
    hint = f"its output is in {log}"
    if code < 0:
        return [Problem(f"{name} was killed by signal {-code}", hint=f"out of host memory? {hint}")]
    if "OutOfMemoryError" in text or "CUDA out of memory" in text:
        less = "--set micro_batch_size=N with a smaller N, or a shorter --set sequence_len=N"
        return [Problem(f"{name} ran out of GPU memory", hint=f"{less}; {hint}")]
    missing = next((line for line in reversed(last) if "ModuleNotFoundError" in line or "ImportError" in line), None)
    if missing:
        return [
            Problem(f"{name} cannot be imported: {missing.strip()}", hint=f"`ql doctor` shows what is there; {hint}")
        ]
    errors = [line for line in last if "Error" in line]
    said = (errors or last or ["no output"])[-1].strip()
    return [Problem(f"{name} ended with exit code {code}: {said}", hint=hint)]
