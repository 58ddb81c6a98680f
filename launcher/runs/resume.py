"""Resume: take a run up again where it stopped, however it stopped."""

from __future__ import annotations

from launcher.backends.checkpoints import newest_complete
from launcher.catalog import load_gpu
from launcher.errors import QlError, RunFailed
from launcher.runs import preflight
from launcher.runs.execute import execute, first_unfinished
from launcher.runs.inputs import check_unchanged
from launcher.runs.lock import locked
from launcher.runs.observer import Observer
from launcher.runs.run import Run, open_run


def resume(run: Run, observer: Observer, *, accept_changes: bool = False, trainer_python: str | None = None) -> Run:
    """Run what is left of a run. One that is finished comes back as it is.

    Raises RunFailed when another process works on it, when it cannot go on here, or when a stage fails; BadInput when
    its inputs have changed and that is not accepted.
    """
    with locked(run.path):
        run = open_run(run.path)  # as whoever held it left it
        stage = first_unfinished(run)
        if stage is None and run.data["state"] == "finished":
            return run
        if trainer_python is not None:
            run.data["trainer_python"] = trainer_python
        for text in check_unchanged(run, accept=accept_changes):
            _note(run, observer, f"resumed with a changed input: {text}")
        if stage in ("prepare", "train"):
            _check_place(run, observer)
        if stage is not None and any(found["state"] != "pending" for found in run.data["stages"]):
            found = newest_complete(run.path / "trainer") if stage == "train" else None
            run.record_resume(stage, found.step if found else 0 if stage == "train" else None)
            observer.note(f"going on with {stage}" + (f" from step {found.step}" if found else ""))
        execute(run, observer)
    return run


def _check_place(run: Run, observer: Observer) -> None:
    """The machine may be another one than the run began on."""
    plan = run.read_plan()
    environment = preflight.examine(run.trainer_python, plan.backend)
    try:
        gpu = load_gpu(plan.gpu)
    except QlError as error:
        raise RunFailed(error.problems) from None
    peak = (run.data.get("estimate") or {}).get("peak_gib") or 0.0
    fraction, notes = preflight.check_environment(plan, gpu, peak, environment)
    if run.data.get("memory_fraction") is not None:
        run.data["memory_fraction"] = fraction
    run.data["environment"] = environment
    for note in notes:
        if note not in run.data["notes"]:
            _note(run, observer, note)


def _note(run: Run, observer: Observer, text: str) -> None:
    run.data["notes"].append(text)
    observer.note(text)
