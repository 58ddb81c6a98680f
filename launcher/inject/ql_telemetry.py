"""Telemetry from inside the trainer: a Trainer callback that writes one JSON line per thing that happened.

This folder is put on the trainer's PYTHONPATH, and nothing else of ql is: it needs only what the trainer has. The
callback reads and writes files, and looks at the model; it never changes what is computed, and never ends a run by
failing: what goes wrong in it becomes an ``error`` event.

``QL_EVENTS``  the file to append events to; unset, nothing is recorded
``QL_STOP``    a file that, once it exists, asks for a checkpoint and a clean end after the current step; when it says
               ``now``, an evaluation of that step is left out, and made up by the run that goes on
``QL_BEAT``    a file that is touched whenever a piece of work is done: a batch, a step, a checkpoint
``QL_TRIAL``   set: an evaluation and a checkpoint after the first step of a run
``QL_WATCH``   what ends the run when it is seen, of ql_watch's kinds, separated by commas
``QL_RESUMED`` the checkpoint that the run goes on from
``QL_LR_WAS``  the learning rate that checkpoints of this run may still hold, where the config now has another

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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ql_checkpoint import keep_exact, restore_exact, seal
from ql_events import EventLog
from ql_quantization import describe_quantization, keep_trainable
from ql_rescue import install
from ql_stop import DUE, Interrupted, Stop, make_up, settle
from ql_trial import Trial
from ql_watch import Watch

GIB = 2**30
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "trl", "accelerate")
# Name of a value in the trainer's log -> name in ours.
LOGGED = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}


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
    """Writes events and the record of the quantisation; stops the run when asked to.

    A trainer's own plugin or wrapper says in a subclass which ``trainer`` it is in, and which ``packages`` make it up.
    """

    trainer = ""
    packages: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.events = EventLog(os.environ.get("QL_EVENTS"))
        self.stop = Stop(os.environ.get("QL_STOP"))
        self.left_out = False  # the evaluation under way is to end
        self.tokens: Any = (
            0  # since the last log; a tensor where the masks are on a GPU, so that counting costs no sync
        )
        self.began: float | None = None  # of the first step since the last log, moved by what was not training
        self.train_began = time.monotonic()
        self.total_tokens = 0
        self.skipped_steps = 0  # by the fp16 loss scaler, whose scale was too high
        self.step = self.first = 0
        self.beat_file = os.environ.get("QL_BEAT")
        self.trial = Trial(False)
        self.watch: Watch | None = None
        self.ending = False  # a fault was found: nothing of this state is to be kept
        self.peak = Peak()
        install(self.events, lambda: self.step)

    def beat(self) -> None:
        if self.beat_file:
            try:
                Path(self.beat_file).touch()
            except OSError:
                return

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.events.write(
            "train_begin",
            step=state.global_step,
            max_steps=state.max_steps,
            num_epochs=args.num_train_epochs,
            device="cuda" if torch.cuda.is_available() else "cpu",
            trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            versions=installed_versions(self.packages),
        )
        self.train_began = time.monotonic()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            keep_trainable(model)
        self.peak = Peak()
        self.step = self.first = state.global_step
        self.trial = Trial(bool(os.environ.get("QL_TRIAL")) and state.global_step == 0)
        model.register_forward_pre_hook(self._count_tokens, with_kwargs=True)
        kinds = frozenset((os.environ.get("QL_WATCH") or "").split(",")) - {""}
        if kinds:
            self.watch = Watch(kinds, bool(args.fp16))
            self.watch.attach(model)
        if state.global_step and os.environ.get("QL_RESUMED"):
            restore_exact(model, Path(os.environ["QL_RESUMED"]))
        if state.global_step and os.environ.get("QL_LR_WAS"):
            relearn(args.learning_rate, float(os.environ["QL_LR_WAS"]), kwargs["optimizer"], kwargs["lr_scheduler"])
        self.beat()
        record = describe_quantization(model, args, installed_versions(self.packages), self.trainer)
        path = Path(args.output_dir, "quantization.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        resumed = os.environ.get("QL_RESUMED")
        if state.global_step and resumed and Path(resumed, DUE).exists():
            self._make_up(args, state, control, Path(resumed))

    def _make_up(self, args: Any, state: Any, control: Any, checkpoint: Path) -> None:
        """The evaluation that was left out; after the last step that is all there is to do, and a step more is none."""
        at_end = state.global_step >= state.max_steps
        try:
            make_up(checkpoint)
            if at_end and not self.stop.begun:
                settle(Path(args.output_dir, checkpoint.name))
                self.on_train_end(args, state, control)
        except Exception:
            if not at_end:
                raise
            traceback.print_exc()
            raise SystemExit(1) from None
        if at_end:
            raise SystemExit(0)

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
        self.stop.wait()
        if self.began is None:
            self.began = time.monotonic()

    @guarded
    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.beat()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._after_prediction(args, state, control)
        if self.left_out:
            self.left_out = False
            raise Interrupted

    @guarded
    def _after_prediction(self, args: Any, state: Any, control: Any) -> None:
        self.beat()
        self.peak.read()  # here, as the metrics are logged, and the peaks reset with them, before on_evaluate
        if self.ending or not self.stop.at_once():
            return
        self.left_out, new = True, state.global_step > self.first
        if self.trial.running:
            self.trial.put_back()
        else:
            self.stop.owed = new  # else the checkpoint that this began with owes it, or nothing was trained yet
        self.stop.take(control)
        self.events.write("stop", step=state.global_step, saves=new)

    @guarded
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self.watch is not None:
            self.watch.before_optimizer(model)

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        self.beat()
        self.peak.read()
        skipped = bool(getattr(kwargs.get("optimizer"), "step_was_skipped", False))
        self.skipped_steps += skipped
        if self.watch is not None and not self.ending:
            scaler = getattr(kwargs.get("optimizer"), "scaler", None)
            scale = float(scaler.get_scale()) if skipped and scaler is not None else None
            found = self.watch.fault(skipped=skipped, scale=scale)
            if found is not None:
                self.ending = True
                self.events.write("fault", step=state.global_step, kind=found[0], evidence=finite(found[1]))
        if self.ending:
            control.should_save = control.should_evaluate = False
            control.should_training_stop = True
            return
        self.trial.begin(args, state, control)
        if self.stop.asked() and not self.stop.begun:
            self.stop.take(control)
            if self.stop.at_once():
                self.stop.owed = bool(control.should_evaluate) and not self.trial.running
                control.should_evaluate = False
            self.events.write("stop", step=state.global_step, saves=True)

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
        self.events.write("log", step=state.global_step, epoch=state.epoch, **values, **peak_memory(self.peak))

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
            trial=self.trial.running,
        )
        self.trial.evaluated(args, metrics)
        self.beat()

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trial.end()
        name = f"checkpoint-{state.global_step}"
        folder = Path(args.output_dir, name)
        keep_exact(kwargs["model"], folder)
        self.stop.note(folder)
        seal(folder)
        if self.stop.asked() and not self.stop.begun:  # while this was written: nothing more is to be done
            # The control is left alone: a trainer may write its state once more, which holds it, into what is sealed.
            self.stop.begun = self.stop.waits = True
            self.events.write("stop", step=state.global_step, saves=True)
        self.events.write("save", step=state.global_step, checkpoint=name)
        self.beat()

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = state.best_model_checkpoint
        self.events.write(
            "train_end",
            step=state.global_step,
            max_steps=state.max_steps,
            stopped=self.stop.begun or self.ending,
            # Another callback asked for the end: early stopping, where the person's config has it.
            ended_early=control.should_training_stop and not (self.stop.begun or self.ending),
            seconds=round(time.monotonic() - self.train_began, 3),
            tokens=self.total_tokens + int(self.tokens),
            skipped_steps=self.skipped_steps,
            best_eval_loss=None if state.best_metric is None else float(state.best_metric),
            best_checkpoint=Path(best).name if best else None,
            **peak_memory(self.peak),
        )


def finite(evidence: dict[str, Any]) -> dict[str, Any]:
    """The same with numbers that JSON does not have as text."""
    return {key: str(v) if isinstance(v, float) and not math.isfinite(v) else v for key, v in evidence.items()}


def relearn(rate: float, before: float, optimizer: Any, scheduler: Any) -> None:
    """Let a schedule that a checkpoint brought back follow the config's learning rate.

    Each group keeps its share of it; a checkpoint that was written with the new rate is left alone.
    """
    scheduler = getattr(scheduler, "scheduler", scheduler)  # accelerate may have wrapped it
    if not any(math.isclose(base, before, rel_tol=1e-6) for base in scheduler.base_lrs):
        return
    scheduler.base_lrs = [base * rate / before for base in scheduler.base_lrs]
    scheduler._last_lr = [last * rate / before for last in scheduler._last_lr]  # what the trainer logs
    for group in optimizer.param_groups:
        for key in ("lr", "initial_lr"):
            if key in group:
                group[key] = group[key] * rate / before


class Peak:
    """The highest of torch's own peaks since training began, in bytes.

    A trainer may reset those peaks at every log, before it calls on_log: what stands there then is no peak of the run.
    They are read where nothing has been logged yet. The counters are the allocator's, on the host: reading costs no
    sync.
    """

    def __init__(self) -> None:
        self.reserved = self.allocated = 0

    def read(self) -> None:
        if torch.cuda.is_available():
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved())
            self.allocated = max(self.allocated, torch.cuda.max_memory_allocated())


def peak_memory(peak: Peak) -> dict[str, float]:
    """GiB so far: what torch reserved and allocated on the GPU, or the resident high-water mark of the process."""
    if torch.cuda.is_available():
        peak.read()
        free, total = torch.cuda.mem_get_info()
        return {
            "peak_memory_gib": round(peak.reserved / GIB, 3),
            "peak_allocated_gib": round(peak.allocated / GIB, 3),
            "device_gib": round((total - free) / GIB, 3),  # now, with the CUDA context and whoever else is there
        }
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return {}
    kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return {"peak_memory_gib": round(kib * 1024 / GIB, 3)}


def installed_versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """The installed ones of PACKAGES and ``more``, by distribution metadata: nothing is imported for it."""
    found = {}
    for name in PACKAGES + more:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
