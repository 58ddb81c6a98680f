"""Run a trainer on a run directory: config + overlay in, telemetry out, a final adapter in trainer/."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from launcher.files import write_atomic
from launcher.processes.attempt import Attempt
from launcher.processes.checkpoints import Checkpoint
from launcher.processes.child import child, child_environment
from launcher.processes.events import Events, training_facts
from launcher.processes.faults import CAUSES
from launcher.processes.secrets import redacted_log
from launcher.records.events import Event
from launcher.records.run import Training
from launcher.resources import PACKAGE
from launcher.trainers import quiet_environment
from launcher.trainers.codec import Codec

INJECT = PACKAGE / "inject"
EFFECTIVE = "effective.yaml"
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Overlay:
    """What a launch adds to the exported config: keys of the config, environment variables, and the command."""

    config: dict[str, object]
    environment: dict[str, str]
    command: list[str]


@dataclass(frozen=True)
class Start:
    """How one attempt at a training differs from a bare run of config.yaml.

    ``settings`` are settings of the plan that have another value now, ``checkpoint`` is what to go on from.
    ``watch`` names what ends the training when it is seen (keys of `faults.CAUSES`). ``stall_seconds`` is the least
    time without a step after which the trainer counts as stalled (None: never), ``stop_seconds`` how long it has to
    write a checkpoint when the run is to stop. ``learning_rate_was`` is the planned rate, where ``settings`` has
    another.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    trial: bool = True
    retry_evaluation: bool = True
    watch: frozenset[str] = frozenset(CAUSES)
    stall_seconds: float | None = 600.0
    stop_seconds: float = 90.0
    learning_rate_was: float | None = None


class Launch(ABC):
    """Starts one trainer. Nothing of it is imported here: it is a process."""

    name: str
    codec: Codec
    trusted: tuple[str, ...] = ()  # folders of trainer/, as patterns, that it takes for whole when they are there

    @property
    def inject(self) -> list[Path]:
        """The folders whose modules this trainer's process can import: the one for all trainers, and its own."""
        own = PACKAGE / "trainers" / self.name / "inject"
        return [INJECT, own] if own.is_dir() else [INJECT]

    @abstractmethod
    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, object],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        """What to add to ``folder``/config.yaml for this run, and the command that trains.

        ``changes`` are among what is added, and what makes the trainer log to the trackers ``track``. ``checkpoint`` is
        the folder to go on from, relative to ``folder``.
        """

    def clear(self, folder: Path) -> None:
        """Before a training that begins at its first step: remove what one that was killed left half written."""
        for pattern in self.trusted:
            for path in (folder / "trainer").glob(pattern):
                shutil.rmtree(path, ignore_errors=True)

    def keys_of(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Settings that have another value now, as keys of this trainer's config."""
        return self.codec.amend(settings)

    def train(
        self,
        folder: Path,
        *,
        python: str,
        memory_fraction: float | None,
        on_event: OnEvent,
        changes: Mapping[str, object] | None = None,
        track: Sequence[str] = (),
        start: Start | None = None,
    ) -> Training:
        """Run the trainer in ``folder`` to its end; the facts of the training come back for the manifest.

        ``changes`` are keys of the config that have another value in this run. ``memory_fraction`` caps the trainer's
        share of the card (None: no cap). ``track`` names trackers: only for them the trainer gets our tokens. Raises
        TrainerFailed when the trainer fails, stalls or is stopped for what the watch saw. When we are interrupted, the
        trainer is asked for a checkpoint first.
        """
        start = start or Start()
        overlay = self._write_overlay(folder, python, memory_fraction, changes or {}, track, start)
        environment = child_environment(quiet_environment() | overlay.environment, with_secrets=bool(track))
        before = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([*map(str, self.inject), *([before] if before else [])])
        trainer = folder / "trainer"
        for name in ("stop", "beat"):
            (trainer / name).unlink(missing_ok=True)
        if start.checkpoint is None:
            self.clear(folder)
        events = Events(folder / "events.jsonl")
        with (
            redacted_log(folder / "train.log") as log,
            child(overlay.command, environment=environment, cwd=folder, stdout=log, stderr=log) as process,
        ):
            Attempt(
                self.name, folder, process, events, on_event, start.stall_seconds, start.stop_seconds
            ).see_to_its_end()
        return training_facts(folder)

    def _write_overlay(
        self,
        folder: Path,
        python: str,
        memory_fraction: float | None,
        changes: Mapping[str, object],
        track: Sequence[str],
        start: Start,
    ) -> Overlay:
        trainer = folder / "trainer"
        trainer.mkdir(exist_ok=True)
        checkpoint = start.checkpoint.path.relative_to(folder).as_posix() if start.checkpoint else None
        overlay = self.overlay(folder, python, {**changes, **self.keys_of(start.settings)}, track, checkpoint)
        allocator = "expandable_segments:True"
        if memory_fraction is not None:
            allocator += f",per_process_memory_fraction:{memory_fraction}"
        overlay.environment.update(
            QL_EVENTS=str(folder / "events.jsonl"),
            QL_STOP=str(trainer / "stop"),
            QL_BEAT=str(trainer / "beat"),
            QL_WATCH=",".join(sorted(start.watch)),
            HF_HUB_OFFLINE="1",  # the base is on this machine by now
            PYTORCH_ALLOC_CONF=allocator,
            # The older name too: a trainer may set it, without a cap, where it is missing: the cap is then not held.
            PYTORCH_CUDA_ALLOC_CONF=allocator,
        )
        if start.trial:
            overlay.environment["QL_TRIAL"] = "1"
        if start.retry_evaluation:
            overlay.environment["QL_EVAL_RETRY"] = "1"
        if start.checkpoint is not None:
            overlay.environment["QL_RESUMED"] = str(start.checkpoint.path)
        if start.learning_rate_was is not None:
            overlay.environment["QL_LR_WAS"] = repr(start.learning_rate_was)
        head = "# What this run added to config.yaml: keys of the config, environment variables, and the command.\n"
        shown = {"config": overlay.config, "environment": overlay.environment, "command": overlay.command}
        write_atomic(folder / "overlay.yaml", head + yaml.safe_dump(shown, sort_keys=False, width=1000))
        return overlay


def write_effective(folder: Path, changes: Mapping[str, object], reader: str) -> dict[str, object]:
    """Write config.yaml with ``changes`` as effective.yaml, which is what ``reader`` is given; its data comes back."""
    config: dict[str, object] = yaml.safe_load((folder / "config.yaml").read_bytes())
    head = f"# config.yaml and overlay.yaml together: what {reader} reads.\n"
    merged = config | dict(changes)
    write_atomic(folder / EFFECTIVE, head + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=1000))
    return merged
