"""Telemetry from inside the trainer: a Trainer callback that writes one JSON line per thing that happened.

This folder is put on the trainer's PYTHONPATH, and nothing else of ql is: it needs only what the trainer has. The
callback reads and writes files, and looks at the model; it never changes what is computed, and never ends a run: what
goes wrong in it becomes an ``error`` event.

``QL_EVENTS``  the file to append events to; unset, nothing is recorded
``QL_STOP``    a file that, once it exists, asks for a checkpoint and a clean end after the current step

Events have ``event``, ``time`` (Unix seconds) and ``step``. Memory is GiB. A number that is not finite is written as
null and named in ``nonfinite``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ql_quantization import describe_quantization

GIB = 2**30
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "trl", "accelerate", "axolotl", "unsloth", "unsloth_zoo")
# Name of a value in the trainer's log -> name in ours.
LOGGED = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}


class EventLog:
    """Appends events to a file; a failure to write is nobody's problem but ours."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def write(self, event: str, **values: Any) -> None:
        if not self.path:
            return
        record: dict[str, Any] = {"event": event, "time": round(time.time(), 3)}
        nonfinite = []
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                nonfinite.append(key)
                value = None
            record[key] = value
        if nonfinite:
            record["nonfinite"] = nonfinite
        try:
            with Path(self.path).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
        except OSError:
            self.path = None  # a full disk would fail again at every step


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """A callback's method that records its own failures instead of raising them into the training loop."""

    @functools.wraps(method)
    def call(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        try:
            method(self, args, state, control, **kwargs)
        except Exception as error:  # telemetry must never end a run
            self.events.write("error", where=method.__name__, message=f"{type(error).__name__}: {error}")

    return call


class TelemetryCallback(TrainerCallback):  # type: ignore[misc]
    """Writes events and the record of the quantisation; stops the run when asked to."""

    def __init__(self) -> None:
        self.events = EventLog(os.environ.get("QL_EVENTS"))
        self.stop_file = os.environ.get("QL_STOP")
        self.stopping = False
        self.tokens: Any = (
            0  # since the last log; a tensor where the masks are on a GPU, so that counting costs no sync
        )
        self.began: float | None = None  # of the first step since the last log, moved by what was not training
        self.train_began = time.monotonic()
        self.total_tokens = 0
        self.skipped_steps = 0  # by the fp16 loss scaler, whose scale was too high

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.events.write(
            "train_begin",
            step=state.global_step,
            max_steps=state.max_steps,
            num_epochs=args.num_train_epochs,
            device="cuda" if torch.cuda.is_available() else "cpu",
            trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            versions=installed_versions(),
        )
        self.train_began = time.monotonic()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        model.register_forward_pre_hook(self._count_tokens, with_kwargs=True)
        record = describe_quantization(model, args, installed_versions())
        path = Path(args.output_dir, "quantization.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _count_tokens(self, module: Any, args: Any, kwargs: Any) -> None:
        try:
            if not module.training:
                return
            mask = kwargs.get("attention_mask")
            if mask is not None and mask.dim() == 2:
                self.tokens = self.tokens + mask.sum().detach()
            elif kwargs.get("input_ids") is not None:  # rows laid end to end have no padding
                self.tokens = self.tokens + kwargs["input_ids"].numel()
        except Exception:
            return

    @guarded
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.began is None:
            self.began = time.monotonic()

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.skipped_steps += bool(getattr(kwargs.get("optimizer"), "step_was_skipped", False))
        if self.stop_file and not self.stopping and Path(self.stop_file).exists():
            self.stopping = True
            control.should_save = True
            control.should_training_stop = True
            self.events.write("stop", step=state.global_step)

    @guarded
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        values = {ours: float(logs[theirs]) for theirs, ours in LOGGED.items() if logs.get(theirs) is not None}
        scaler = getattr(kwargs.get("optimizer"), "scaler", None)
        if scaler is not None:
            values["loss_scale"] = float(scaler.get_scale())
        if self.began is not None:
            seconds = time.monotonic() - self.began
            values["tokens_per_second"] = round(int(self.tokens) / seconds, 1) if seconds > 0 else 0.0
            values["tokens"] = int(self.tokens)
            values["skipped_steps"] = self.skipped_steps
        self.total_tokens += int(self.tokens)
        self.tokens, self.began = 0, None
        self.events.write("log", step=state.global_step, epoch=state.epoch, **values, **peak_memory())

    @guarded
    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        metrics = metrics or {}
        seconds = float(metrics.get("eval_runtime", 0.0))
        if self.began is not None:
            self.began += seconds
        loss = metrics.get("eval_loss")
        self.events.write(
            "eval",
            step=state.global_step,
            epoch=state.epoch,
            eval_loss=None if loss is None else float(loss),
            seconds=seconds,
        )

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.events.write("save", step=state.global_step, checkpoint=f"checkpoint-{state.global_step}")

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = state.best_model_checkpoint
        self.events.write(
            "train_end",
            step=state.global_step,
            max_steps=state.max_steps,
            stopped=self.stopping,
            seconds=round(time.monotonic() - self.train_began, 3),
            tokens=self.total_tokens + int(self.tokens),
            skipped_steps=self.skipped_steps,
            best_eval_loss=None if state.best_metric is None else float(state.best_metric),
            best_checkpoint=Path(best).name if best else None,
            **peak_memory(),
        )


def peak_memory() -> dict[str, float]:
    """GiB so far: what torch reserved and allocated on the GPU, or the resident high-water mark of the process."""
    if torch.cuda.is_available():
        reserved, allocated = torch.cuda.max_memory_reserved(), torch.cuda.max_memory_allocated()
        free, total = torch.cuda.mem_get_info()
        return {
            "peak_memory_gib": round(reserved / GIB, 3),
            "peak_allocated_gib": round(allocated / GIB, 3),
            "device_gib": round((total - free) / GIB, 3),  # now, with the CUDA context and whoever else is there
        }
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return {}
    kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return {"peak_memory_gib": round(kib * 1024 / GIB, 3)}


def installed_versions() -> dict[str, str]:
    """The installed ones of PACKAGES, by distribution metadata: nothing is imported for it."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
