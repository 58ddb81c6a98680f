"""An evaluation and a checkpoint right after the first step: what would fail hours later fails now.

The trial changes nothing that is computed: the random state is put back, and its loss does not compete for the best
checkpoint.
"""

from __future__ import annotations

import random
from typing import Any

import torch


class Trial:
    """``begin`` after the first step, ``evaluated`` after its evaluation, ``end`` after its checkpoint."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.running = False
        self.state: Any = None

    def begin(self, args: Any, state: Any, control: Any) -> None:
        """Ask for what the first step does not bring anyhow."""
        if not self.wanted:
            return
        self.wanted = False
        if control.should_save or control.should_evaluate or control.should_training_stop:
            return  # its turn comes now, and counts
        self.running = True
        control.should_save = True
        control.should_evaluate = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"
        self.state = random_state()

    def evaluated(self, args: Any, metrics: dict[str, Any]) -> None:
        if not self.running:
            return
        self.put_back()
        name = args.metric_for_best_model
        if name is not None:
            key = name if name.startswith("eval_") else f"eval_{name}"
            if key in metrics:
                metrics[key] = float("-inf") if args.greater_is_better else float("inf")

    def put_back(self) -> None:
        """The random state as it was before the trial."""
        restore(self.state)

    def end(self) -> None:
        self.running, self.state = False, None


def random_state() -> dict[str, Any]:
    """The state of every generator that a training draws from: a trial must not change what the run draws."""
    import numpy

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "numpy": numpy.random.get_state(), "cpu": torch.get_rng_state(), "cuda": cuda}


def restore(state: dict[str, Any]) -> None:
    """Put every generator back to a `random_state`."""
    import numpy

    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state_all(state["cuda"])
