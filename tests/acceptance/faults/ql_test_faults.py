"""Faults for a real trainer, asked for by QL_TEST_FAULT, a JSON object.

``kind``   oom_train, oom_eval, nan, zero_loss, zero_gradients, masked, diverge, hang, exit, kill, skip
``step``   the optimizer step (from 1) at which it begins
``above``  oom: only with more rows than this in a batch; nan and skip: only with a learning rate above this
Hanging, exiting and being killed happen once: a file in the working directory, which is the run's, says that it did.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, trainer

FAULT: dict[str, Any] = json.loads(os.environ["QL_TEST_FAULT"])
DONE = Path("fault-done")


def install() -> None:
    if FAULT["kind"] == "skip":
        # What accelerate's optimizer says after a step that the fp16 loss scaler skipped; a CPU has no such scaler.
        from accelerate.optimizer import AcceleratedOptimizer

        AcceleratedOptimizer.step_was_skipped = property(
            lambda self: Fault.now >= FAULT["step"] and Fault.rate > FAULT["above"]
        )
    trainer.DEFAULT_CALLBACKS.append(Fault)


class Fault(TrainerCallback):  # type: ignore[misc]
    now = 1  # the step that is being made
    rate = 0.0  # the run's learning rate, before any schedule

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        Fault.now = state.global_step + 1
        Fault.rate = args.learning_rate
        model.register_forward_pre_hook(self.before, with_kwargs=True)
        model.register_forward_hook(self.after)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        Fault.now = state.global_step + 1
        if FAULT["kind"] in ("hang", "exit", "kill") and self.begun and not DONE.exists():
            DONE.touch()
            if FAULT["kind"] == "hang":
                time.sleep(10**6)
            if FAULT["kind"] == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def begun(self) -> bool:
        return Fault.now >= FAULT["step"]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if FAULT["kind"] == "zero_gradients" and self.begun:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.zero_()

    def before(self, module: Any, args: Any, kwargs: Any) -> Any:
        wanted = "oom_train" if module.training else "oom_eval"
        if FAULT["kind"] == wanted and self.begun and kwargs["input_ids"].shape[0] > FAULT["above"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. (injected by a test)")
        if FAULT["kind"] == "masked" and module.training and self.begun:
            kwargs["labels"] = torch.full_like(kwargs["labels"], -100)
            return args, kwargs
        return None

    def after(self, module: Any, args: Any, output: Any) -> Any:
        if not module.training or not self.begun or output.loss is None:
            return output
        if FAULT["kind"] == "nan" and Fault.rate > FAULT["above"]:
            output.loss = output.loss * float("nan")
        elif FAULT["kind"] == "zero_loss":
            output.loss = output.loss * 0.0
        elif FAULT["kind"] == "diverge":
            output.loss = output.loss * (1.0 + Fault.now - FAULT["step"]) ** 2
        return output
