"""What happens around the training loop when something goes wrong in it.

An evaluation that runs out of memory is tried again with half its batch, in place: the training it interrupts is not
touched. An exception that ends the process is recorded with where it came from. SIGUSR1 writes every thread's stack to
stderr, which is the run's train.log.

``QL_EVAL_RETRY``  set: retry evaluations
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import signal
import sys
from types import TracebackType
from typing import Any

import torch

from ql_events import EventLog
from ql_stop import interruptible

# Names of the trainer's own functions, by which a traceback tells what was going on; the first that is found counts.
PHASES = (
    ("eval", {"evaluate", "evaluation_loop", "prediction_step"}),
    ("save", {"_save_checkpoint", "save_model"}),
    ("train", {"training_step", "_inner_training_loop", "_run_epoch"}),
)
OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")

_installed = False


def install(events: EventLog, step: Any) -> None:
    """Set everything up, once in a process; ``step()`` is the current optimizer step."""
    global _installed
    if _installed:
        return
    _installed = True
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        events.write(
            "crash",
            step=step(),
            type=kind.__name__,
            message=str(error)[:2000],
            phase=phase(trace),
            out_of_memory=ran_out(error),
        )
        before(kind, error, trace)

    sys.excepthook = hook
    from transformers import Trainer

    Trainer._evaluate = interruptible(Trainer._evaluate)
    if os.environ.get("QL_EVAL_RETRY"):
        Trainer.evaluate = retrying(Trainer.evaluate, events)


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that the card's memory is full."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in OUT_OF_MEMORY)


def phase(trace: TracebackType | None) -> str:
    """What the process was doing: eval, save, train, or setup."""
    names = set()
    while trace is not None:
        names.add(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return next((name for name, known in PHASES if names & known), "setup")


def retrying(evaluate: Any, events: EventLog) -> Any:
    """``Trainer.evaluate`` that halves its batch when memory ends, down to one row."""

    @functools.wraps(evaluate)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        while True:
            size = self.args.per_device_eval_batch_size
            try:
                return evaluate(self, *args, **kwargs)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if size <= 1 or not ran_out(error):
                    raise
                said = str(error).partition("\n")[0][:500]
            # Out of the except block: the exception's frames held the tensors that filled the card.
            self.args.per_device_eval_batch_size = size // 2
            getattr(self, "_eval_dataloaders", {}).clear()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            events.write("eval_batch", step=self.state.global_step, before=size, after=size // 2, message=said)

    return wrapper
