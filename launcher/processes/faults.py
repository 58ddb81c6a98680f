"""How a training can end badly, told apart: from the trainer's events, its exit code, and its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.errors import Problem, RunFailed
from launcher.processes.child import tail
from launcher.records.events import Event

OUT_OF_MEMORY = ("OutOfMemoryError", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# Names that a traceback shows when an evaluation was running.
EVALUATING = ("in evaluation_loop", "in prediction_step", "in evaluate")

CAUSES = {
    "fp16_overflow": "float16 overflowed: its largest value is 65504",
    "nonfinite_loss": "the loss is not finite",
    "divergence": "the loss diverges: it is more than twice its lowest and above where it began",
    "zero_loss": "the loss is exactly 0",
    "zero_gradients": "all gradients are exactly 0",
    "labels_masked": "no token of any row is trained: all labels are masked",
}


class TrainerFailed(RunFailed):
    """A training that ended badly.

    ``kind`` is oom_train, oom_eval, stall, exit, disk_full, one of CAUSES, or broken for what no repair can help.
    ``step`` is the optimizer step it was seen at, None where none was made. ``evidence`` are numbers for the record.
    """

    def __init__(
        self,
        problems: str | Problem | Sequence[Problem],
        *,
        kind: str = "broken",
        step: int | None = None,
        evidence: Mapping[str, object] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problems if isinstance(problems, str | Problem) else list(problems), hint=hint)
        self.kind, self.step, self.evidence = kind, step, dict(evidence or {})


def steps_of(events: Sequence[Event]) -> list[int]:
    """The optimizer steps that events name."""
    return [step for event in events if isinstance(step := event.get("step"), int)]


def from_fault(name: str, event: Event, folder: Path) -> TrainerFailed:
    """What the callback's watch saw."""
    kind, step, evidence = str(event["kind"]), event.get("step"), event.get("evidence") or {}
    shown = ", ".join(f"{key} {value}" for key, value in evidence.items() if value is not None)
    message = f"{name} was stopped at step {step}: {CAUSES.get(kind, kind)} ({shown})"
    return TrainerFailed(
        message, kind=kind, step=step, evidence=evidence, hint=f"its output is in {folder / 'train.log'}"
    )


def explain(name: str, code: int, folder: Path, events: Sequence[Event] = ()) -> TrainerFailed:
    """Why a trainer ended badly, as far as its events of this attempt and its log say."""
    log = folder / "train.log"
    last = tail(log, 40)
    text = "\n".join(last)
    hint = f"its output is in {log}"
    steps = steps_of(events)
    step = max(steps, default=None)
    begun = any(event.get("event") == "train_begin" for event in events)
    crash = next((event for event in reversed(events) if event.get("event") == "crash"), None)
    if code < 0:
        kind = "exit" if begun else "broken"
        said = f"{name} was killed by signal {-code}"
        return TrainerFailed(said, kind=kind, step=step, hint=f"out of host memory? {hint}")
    if (crash and crash.get("out_of_memory")) or any(said in text for said in OUT_OF_MEMORY):
        evaluating = crash["phase"] == "eval" if crash else any(said in text for said in EVALUATING)
        return _out_of_memory(name, crash, step, evaluating, hint)
    if "No space left on device" in text:
        full = "make room, then `ql resume`; --set eval_fraction=0 and --no-merge write less"
        return TrainerFailed(
            f"{name}: no space left on the disk of {folder}", kind="disk_full", step=step, hint=f"{full}; {hint}"
        )
    missing = next((line for line in reversed(last) if "ModuleNotFoundError" in line or "ImportError" in line), None)
    if missing and not begun:  # later, something that it uses only then is missing: no matter of the trainer itself
        return TrainerFailed(
            f"{name} cannot be imported: {missing.strip()}", hint=f"`ql doctor` shows what is there; {hint}"
        )
    errors = [line for line in last if "Error" in line]
    said = (errors or last or ["no output"])[-1].strip()
    # An exception of Python's is there again at the next attempt; a process that went without one was perhaps unlucky.
    lucky = begun and (crash is None or "CUDA error" in str(crash.get("message")))
    return TrainerFailed(
        f"{name} ended with exit code {code}: {said}", kind="exit" if lucky else "broken", step=step, hint=hint
    )


def _out_of_memory(name: str, crash: Event | None, step: int | None, evaluating: bool, hint: str) -> TrainerFailed:
    less = "--set eval_batch_size=N" if evaluating else "--set micro_batch_size=N"
    return TrainerFailed(
        f"{name} ran out of GPU memory" + (" in an evaluation" if evaluating else ""),
        kind="oom_eval" if evaluating else "oom_train",
        step=step,
        evidence={"message": str(crash["message"]).partition("\n")[0]} if crash else {},
        hint=f"{less} with a smaller N, or a shorter --set sequence_len=N; {hint}",
    )
