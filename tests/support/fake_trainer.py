"""A trainer that does what a `scenario.Scenario` says: ``python fake_trainer.py DEEDS SETTINGS CHECKPOINT``.

It runs in the folder of the run, writes its events where the callback of a real trainer does, and reads the same
environment.
"""

from __future__ import annotations

import builtins
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Deeds = Iterable[tuple[str, dict[str, Any]]]


class Trainer:
    """Each public method is a deed."""

    def __init__(self, settings: dict[str, Any], checkpoint: str) -> None:
        self._settings = settings
        self._start = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
        self._steps = 0
        self._stream = Path(os.environ["QL_EVENTS"]).open("a", encoding="utf-8")  # noqa: SIM115

    def play(self, deeds: Deeds) -> None:
        for deed, values in deeds:
            getattr(self, deed)(**values)

    def say(self, event: str, values: dict[str, Any]) -> None:
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()

    def begin(self, steps: int) -> None:
        self._steps = steps
        self.say("train_begin", {"step": self._start, "max_steps": steps})
        self._beat()

    def save(self, step: int, best: str | None, owes: bool) -> None:
        from ql_checkpoint import seal  # on the path of what the launcher starts

        folder = Path("trainer", f"checkpoint-{step}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ql-evaluation-due").touch() if owes else (folder / "ql-evaluation-due").unlink(missing_ok=True)
        state = {"global_step": step, "max_steps": self._steps, "best_model_checkpoint": best}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        (folder / "adapter_model.safetensors").write_text(f"weights of step {step}")
        (folder / "optimizer.pt").write_text("moments")
        (folder / "scaler.pt").write_text("scale")
        seal(folder)
        self.say("save", {"step": step})

    def end(self, step: int | None, stopped: bool, more: dict[str, Any]) -> None:
        facts = {"max_steps": self._steps, "seconds": 1.5, "tokens": 30, "skipped_steps": 0, "best_checkpoint": None}
        at = {"step": self._steps if step is None else step, "stopped": stopped, "peak_memory_gib": 2.5}
        self.say("train_end", facts | at | more)

    def work(self, beats: int, every: float) -> None:
        for _ in range(beats):
            time.sleep(every)
            self._beat()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_for_ever(self) -> None:
        while True:
            time.sleep(600)

    def show(self, text: str, to_stderr: bool) -> None:
        print(text, file=sys.stderr if to_stderr else sys.stdout)

    def write(self, file: str, text: str) -> None:
        Path(file).write_text(text)

    def wait_until_asked(self) -> None:
        while self._asked() is None:
            time.sleep(0.01)

    def tell_what_is_asked(self) -> None:
        self.say("asked", {"how": self._asked()})

    def tell_environment(self, name: str) -> None:
        self.say("environment", {"value": os.environ[name]})

    def while_above(self, setting: str, limit: int, planned: int, story: Deeds) -> None:
        if self._settings.get(setting, planned) > limit:
            self.play(story)

    def unless(self, setting: str, value: str, story: Deeds) -> None:
        if self._settings.get(setting) != value:
            self.play(story)

    def fail(self, kind: str, message: str) -> None:
        raise getattr(builtins, kind)(message)

    def use(self, module: str) -> None:
        importlib.import_module(module)

    def leave(self, code: int) -> None:
        sys.exit(code)

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _beat(self) -> None:
        Path(os.environ["QL_BEAT"]).touch()

    def _asked(self) -> str | None:
        try:
            return Path(os.environ["QL_STOP"]).read_text()
        except OSError:
            return None


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    Trainer(json.loads(sys.argv[2]), sys.argv[3]).play(json.loads(sys.argv[1]))
