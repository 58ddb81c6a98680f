"""The stage train: the trainer run to its end, mended on its way where that is possible."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from launcher.catalog.capability import has_bfloat16
from launcher.catalog.local import stored_base
from launcher.errors import Problem
from launcher.files import sync_folder, write_atomic
from launcher.processes.checkpoints import (
    EXACT,
    SEAL,
    Checkpoint,
    TrainerState,
    discard_after,
    newest_complete,
    without,
)
from launcher.processes.events import facts_of_checkpoint
from launcher.processes.faults import TrainerFailed
from launcher.records.events import Event
from launcher.records.run import RepairPolicy, Training
from launcher.runs.observer import Observer
from launcher.runs.run import Run
from launcher.runs.training.repairs import RepairStep, allows, choose, likely_cause, watched
from launcher.trainers import get_trainer
from launcher.trainers.launch import Start

SCALER = "scaler.pt"
# Of a checkpoint, what only a resume needs; the rest is the adapter and its tokenizer.
NOT_SHIPPED = frozenset(
    {"optimizer.pt", "scheduler.pt", SCALER, "rng_state.pth", "trainer_state.json", "training_args.bin", SEAL, EXACT}
)


def train_to_the_end(run: Run, observer: Observer, what_fits: Callable[[], str | None]) -> Training:
    """Run the trainer until it has finished; the facts of the training come back.

    Each attempt goes on from the newest complete checkpoint. Raises TrainerFailed when nothing is left to be done, with
    ``what_fits()`` for a training that does not fit its card.
    """
    trainer = get_trainer(run.plan["backend"])
    policy = run.record.repair_policy
    upto: int | None = None
    restarts: list[str] = []
    while True:
        checkpoint = usable_checkpoint(run, observer, upto)
        at_end = checkpoint is not None and (state := checkpoint.state()).global_step >= state.max_steps
        if checkpoint is not None and at_end and not checkpoint.owes_evaluation:
            return _finish(run, checkpoint, state)
        try:
            facts = trainer.launch.train(
                run.path,
                python=run.trainer_python,
                memory_fraction=run.record.memory_fraction,
                on_event=lambda event: _hear(run, observer, event),
                changes=run.record.overlay,
                track=run.record.track,
                start=_start(run, policy, checkpoint),
            )
            if not at_end:  # else it has made up the last evaluation, and now it is known which checkpoint is the best
                return facts
        except TrainerFailed as failure:
            repair = choose(
                failure,
                run.plan,
                policy,
                has_bfloat16=_has_bfloat16(run),
                stored_dtype=stored.dtype if (stored := stored_base(run.plan["base_model"])) else None,
                recorded=run.record.repairs,
                restarts=restarts,
                can_set=trainer.codec.writes,
            )
            if repair is None:
                raise _explained(failure, run, what_fits) from failure
            restarts.append(failure.kind)
            _apply(run, observer, failure, repair)
            upto = repair.upto
            if upto is not None:
                discard_after(run.path / "trainer", upto)


def usable_checkpoint(run: Run, observer: Observer, upto: int | None = None) -> Checkpoint | None:
    """The newest complete checkpoint of the run. Newer ones that are not complete are said, and removed."""

    def bad(path: Path, reason: str) -> None:
        observer.note(f"{path.name} is not used: it {reason}")
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)

    return newest_complete(run.path / "trainer", upto=upto, on_bad=bad)


def _start(run: Run, policy: RepairPolicy, checkpoint: Checkpoint | None) -> Start:
    changes = run.record.changes
    planned = run.record.plan["learning_rate"]
    if checkpoint is not None and run.plan["compute_dtype"] != "float16":
        checkpoint = without(checkpoint, [SCALER])
    return Start(
        settings=changes,
        checkpoint=checkpoint,
        trial="trial" not in policy.off,
        retry_evaluation=allows(policy, "oom_eval"),
        watch=watched(policy),
        stall_seconds=policy.stall_seconds if allows(policy, "stall") else None,
        stop_seconds=policy.stop_seconds,
        learning_rate_was=planned if "learning_rate" in changes else None,
    )


def _hear(run: Run, observer: Observer, event: Event) -> None:
    """Pass an event of the trainer on; an evaluation that it repaired by itself is recorded."""
    observer.telemetry(event)
    if event.get("event") == "eval_batch":
        before, after = event["before"], event["after"]
        run.record.changes["eval_batch_size"] = after
        record = run.record_repair(
            stage="train",
            kind="oom_eval",
            cause=f"out of memory in an evaluation: {event.get('message')}",
            action=f"evaluation batch {before} to {after}, without stopping the training",
            step=event.get("step"),
            before={"eval_batch_size": before},
            after={"eval_batch_size": after},
        )
        observer.repair(record)


def _apply(run: Run, observer: Observer, failure: TrainerFailed, repair: RepairStep) -> None:
    run.record.changes.update(repair.after)
    record = run.record_repair(
        stage="train",
        kind=failure.kind,
        cause=failure.problems[0].message,
        action=repair.action,
        step=failure.step,
        before=repair.before,
        after=repair.after,
    )
    observer.repair(record)


def _explained(failure: TrainerFailed, run: Run, what_fits: Callable[[], str | None]) -> TrainerFailed:
    """The failure with what a person can do about it."""
    problems = list(failure.problems)
    devices = run.record.environment.devices
    capability = devices[0].capability if devices else None
    more = what_fits() if failure.kind == "oom_train" else likely_cause(failure.kind, run.plan, capability)
    if more:
        problems.append(Problem(more))
    return TrainerFailed(problems, kind=failure.kind, step=failure.step, evidence=failure.evidence)


def _has_bfloat16(run: Run) -> bool:
    if run.plan.get("on_cpu"):
        return True
    devices = run.record.environment.devices
    return bool(devices) and has_bfloat16(devices[0].capability)


def _finish(run: Run, checkpoint: Checkpoint, state: TrainerState) -> Training:
    """Give trainer/ the adapter of a training whose process ended between its last checkpoint and its own end.

    What the trainer would still have done is to load the best checkpoint, where the best is kept, and to save it. It is
    not started for that: resumed from its last step, it would train one more.
    """
    trainer = run.path / "trainer"
    best = state.best_model_checkpoint
    source = checkpoint
    if best and run.plan["keep"] == "best" and run.plan.get("eval_rows") != 0:
        found = newest_complete(trainer, upto=int(str(best).rpartition("-")[2]))
        if found is None or found.path.name != Path(str(best)).name:
            raise TrainerFailed(f"{Path(str(best)).name}, the best checkpoint, is not complete any more")
        source = found
    for path in sorted(source.path.iterdir()):
        if path.is_file() and path.name not in NOT_SHIPPED:
            copy = trainer / f".{path.name}.new"
            shutil.copyfile(path, copy)
            with copy.open("rb") as stream:
                os.fsync(stream.fileno())
            copy.replace(trainer / path.name)
    sync_folder(trainer)
    write_atomic(trainer / "finished-from.json", json.dumps({"checkpoint": source.path.name}) + "\n")
    return facts_of_checkpoint(run.path, state)
