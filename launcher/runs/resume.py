"""Resume: take a run up again where it stopped, however it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from launcher.catalog import load_gpu
from launcher.errors import QlError, RunFailed
from launcher.processes.checkpoints import newest_complete
from launcher.records.run import STAGES
from launcher.runs import preflight
from launcher.runs.execute import execute, first_unfinished, is_finished
from launcher.runs.inputs import check_unchanged
from launcher.runs.lock import locked, say_begun
from launcher.runs.observer import Observer
from launcher.runs.run import Run, open_run


def resume(run: Run, observer: Observer, *, accept_changes: bool = False, trainer_python: str | None = None) -> Run:
    """Run what is left of a run. One that is finished comes back as it is.

    Raises RunFailed when another process works on it, when it cannot go on here, or when a stage fails; BadInput when
    its inputs have changed and that is not accepted.
    """
    with locked(run.path):
        run = open_run(run.path)  # as whoever held it left it
        if is_finished(run):
            return run
        if trainer_python is not None:
            run.record.trainer_python = trainer_python
        _find_base(run, observer)
        for text in check_unchanged(run, accept=accept_changes):
            _note(run, observer, f"resumed with a changed input: {text}")
        for text in make_again(run):
            _note(run, observer, text)
        stage = first_unfinished(run)
        if stage in ("prepare", "train"):
            _check_place(run, observer)
        if stage is not None and any(found.state != "pending" for found in run.record.stages):
            step, answers = reached(run, stage)
            run.record_resume(stage, step, answers)
            observer.note(f"going on with {stage}" + (f" from step {step}" if step else ""))
        say_begun(run.path)
        execute(run, observer)
    return run


def reached(run: Run, stage: str) -> tuple[int | None, int | None]:
    """How far an unfinished stage has come: the training's newest checkpoint, the golden answers that are there."""
    if stage == "train":
        found = newest_complete(run.path / "trainer")
        return (found.step if found else 0), None
    if stage == "evaluate":
        outputs = (run.path / "golden" / "outputs").glob("*.jsonl")
        return None, sum(path.read_bytes().count(b"\n") for path in outputs)
    return None, None


def _find_base(run: Run, observer: Observer) -> None:
    """The base where it is now: another machine, or another HF_HOME, has the hub's snapshot in another place."""
    before, name = run.record.base_folder, run.plan["base_model"]
    if not before or Path(before).is_dir():
        return
    if before == name or Path(name).is_absolute():
        hint = "put it back: a run goes on with the base that it began with"
        raise RunFailed(f"the base model is no longer in {before}", hint=hint)
    run.record.base_folder = preflight.fetch_base(run.trainer_python, name, run.path / "prepare.log")
    _note(run, observer, f"the base model is in {run.record.base_folder} now; it was in {before}")


def make_again(run: Run) -> list[str]:
    """Set back the stages that are done and whose product is not there any more; what is made again, in words."""
    stages = {stage.name: stage for stage in run.record.stages}
    done = {name for name, stage in stages.items() if stage.state == "done"}
    merging = run.record.merge_wanted and not {"merge", "verify"} <= done
    weights, adapter, merged = "trainer/adapter_model.safetensors", "adapter", "merged"
    said = []
    if "train" in done and not (run.path / adapter).is_dir():
        said.append(f"{adapter}/ is gone: it is made again")
        stages["train"].state = "pending"
    if run.record.training and (merging or said) and not (run.path / weights).is_file():
        said.append(
            f"{weights} is gone: the training is taken up at its newest checkpoint, and what follows done again"
        )
        run.record.forget("training")
        shutil.rmtree(run.path / merged, ignore_errors=True)  # of those weights: the merge writes into no full folder
        for name in STAGES[STAGES.index("train") :]:
            stages[name].state = "pending"
    elif "merge" in done and not (run.path / merged).is_dir():
        said.append(f"{merged}/ is gone: it is made again")
        for name in ("merge", "verify"):
            stages[name].state = "pending"
    return said


def _check_place(run: Run, observer: Observer) -> None:
    """The machine may be another one than the run began on."""
    plan = run.read_plan()
    environment = preflight.examine(run.trainer_python, plan.backend)
    try:
        gpu = load_gpu(plan.gpu)
    except QlError as error:
        raise RunFailed(error.problems) from None
    peak = (run.record.estimate and run.record.estimate.peak_gib) or 0.0
    fraction, notes = preflight.check_environment(plan, gpu, peak, environment)
    if run.record.memory_fraction is not None:
        run.record.memory_fraction = fraction
    run.record.environment = environment
    for note in notes:
        if run.add_note(note):
            observer.note(note)


def _note(run: Run, observer: Observer, text: str) -> None:
    run.record.notes.append(text)
    observer.note(text)
