"""Stopping a training within a few seconds without losing a step, or what an evaluation would have found.

The launcher asks by a file. Where it holds ``now`` the machine will be taken away: the step in progress is finished
and saved, an evaluation that is due or under way is left out, and made up when the training is taken up again: its
loss may decide which checkpoint is the best.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ql_checkpoint import seal
from ql_trial import random_state, restore

PATIENCE = 60.0  # seconds
DUE = "ql-evaluation-due"  # in a checkpoint: the evaluation that belongs to its step was left out


class Interrupted(Exception):
    """The evaluation under way is left out."""


class Stop:
    """Whether the training is to stop, and what was left out for it."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None
        self.begun = False  # the training is being stopped
        self.owed = False  # an evaluation of this step was left out
        self.waits = False  # all is saved, and the launcher is about to end this process

    def asked(self) -> bool:
        return self.path is not None and self.path.exists()

    def at_once(self) -> bool:
        return self.path is not None and self.path.exists() and self.path.read_text(encoding="utf-8") == "now"

    def take(self, control: Any) -> None:
        """Let the trainer save and end after the step that it is at."""
        self.begun = True
        control.should_save = control.should_training_stop = True

    def wait(self) -> None:
        """Begin no step that would be lost; not for ever, should nobody come."""
        begin = time.monotonic()
        while self.waits and self.asked() and time.monotonic() - begin < PATIENCE:
            time.sleep(0.05)
        self.waits = False

    def note(self, folder: Path) -> None:
        """Write into a checkpoint that is not sealed yet what its step still owes."""
        if self.owed:
            (folder / DUE).touch()


def interruptible(evaluate: Any) -> Any:
    """``Trainer._evaluate`` that comes back with a loss that wins nothing where the evaluation is left out."""

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return evaluate(self, *args, **kwargs)
        except Interrupted:
            self.control.should_evaluate = False
            name = self.args.metric_for_best_model
            if name is None:
                return {}
            worst = float("-inf") if self.args.greater_is_better else float("inf")
            return {name if name.startswith("eval_") else f"eval_{name}": worst}

    return wrapper


def make_up(checkpoint: Path) -> None:
    """Evaluate the checkpoint that a training goes on from, whose evaluation was left out.

    Called from a callback as training begins, with the weights in place. The random state goes on as if the evaluation
    had come before the checkpoint was written.
    """
    trainer = running_trainer()
    trainer._load_rng_state(str(checkpoint))
    metrics = trainer._evaluate(None, None)
    if trainer._determine_best_metric(metrics=metrics, trial=None):
        trainer.state.best_model_checkpoint = str(Path(trainer.args.output_dir, checkpoint.name))
    after = random_state()
    trainer._load_rng_state = lambda _: restore(after)  # the trainer is about to load what was saved


def settle(checkpoint: Path) -> None:
    """Write into the checkpoint of the last step what its evaluation found: nothing owes it any more."""
    running_trainer().state.save_to_json(str(checkpoint / "trainer_state.json"))
    (checkpoint / DUE).unlink()
    seal(checkpoint)


def running_trainer() -> Any:
    """The trainer whose train() is running. Callbacks are handed all that it has, but not itself."""
    from transformers import Trainer

    frame = sys._getframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    raise RuntimeError("no trainer is running")
