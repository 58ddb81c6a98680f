"""Run the stages that are not done yet, in their order, each recorded before the next begins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from shlex import quote

from launcher.errors import Problem, QlError, RunFailed, remedy
from launcher.files import clear_temporary
from launcher.preparing.asked import Asked
from launcher.preparing.prepare import prepare_asked
from launcher.preparing.prepared import Prepared
from launcher.runs import preflight, stages
from launcher.runs.events import mend_events
from launcher.runs.follow import Recording
from launcher.runs.inputs import fingerprint
from launcher.runs.observer import Observer
from launcher.runs.recount import recount, take
from launcher.runs.run import MANIFEST, Run
from launcher.runs.signals import stopped_by_signals

Stage = Callable[[Run, Observer], None]
NO_MERGE = "asked for with --no-merge"


def execute(run: Run, observer: Observer, prepared: Prepared | None = None) -> None:
    """Bring the run to its end. The caller holds its lock.

    ``prepared`` saves preparing it a second time. Raises as `launcher.runs.launch.launch` does.
    """
    recording = Recording(run.path, observer)
    clear_temporary(run.path)
    mend_events(run.path)
    with stopped_by_signals(recording.note):
        try:
            run.record.state = "running"
            run.save()
            _all_stages(run, recording, prepared)
        except (KeyboardInterrupt, SystemExit):
            if run.record.state == "running":  # between two stages
                run.record.state = "stopped"
                run.save()
            raise
        run.record.state = "finished"
        run.save()


def _all_stages(run: Run, observer: Observer, prepared: Prepared | None) -> None:
    for name, stage in _stages(run, prepared).items():
        if run.stage(name).state in ("done", "skipped"):
            continue
        if isinstance(stage, str):
            run.skip(name, stage)
            observer.stage(name, "skipped", stage)
        else:
            _run_stage(run, name, stage, observer)


def first_unfinished(run: Run) -> str | None:
    """The stage that a resume goes on with; None when the run is finished."""
    return next((stage.name for stage in run.record.stages if stage.state not in ("done", "skipped")), None)


def is_finished(run: Run) -> bool:
    """Whether nothing is left to do."""
    return run.record.state == "finished" and first_unfinished(run) is None


def _stages(run: Run, prepared: Prepared | None) -> dict[str, Stage | str]:
    """Each stage's function, or why it is skipped."""
    merge = run.record.merge_wanted
    return {
        "prepare": partial(_prepare, prepared=prepared),
        "train": stages.train,
        "evaluate": stages.evaluate if run.record.golden else "no golden set",
        "merge": stages.merge if merge else NO_MERGE,
        "verify": stages.verify if merge else NO_MERGE,
        "report": stages.report,
    }


def _prepare(run: Run, observer: Observer, *, prepared: Prepared | None) -> None:
    """The base on this machine, the trainer's files and its data in the run, and the hashes of all that."""
    again = prepared or _prepare_again(run, observer)
    base = preflight.fetch_base(run.trainer_python, again.plan.base_model, run.path / "prepare.log")
    preflight.check_base(base)
    run.record.base_folder = base
    if again.is_estimated:
        again = recount(run, again, observer)
    assert run.record.data is not None
    run.record.data = again.write(run.path)
    run.record.inputs = fingerprint(run)


def _prepare_again(run: Run, observer: Observer) -> Prepared:
    """Prepare the run from what was asked for. Raises RunFailed when another plan or another config would come of it.

    Rows that could only be estimated at first may be counted by now: then the plan is that of the counted rows.

    Keys that a config has beside the plan's are only seen in its hash.
    """
    asked = run.record.asked
    if asked is None:
        raise RunFailed(f"{run.path.name} was stopped while it was prepared", hint="start it again with `ql launch`")
    prepared = prepare_asked(Asked.of(asked), partial(preflight.card_here, run.trainer_python))
    if run.record.lengths_estimated and not prepared.is_estimated:
        return take(run, prepared, observer)
    now, then = prepared.plan.to_dict(), run.record.plan
    different = [key for key in then if key not in ("reasons", "sources") and now.get(key) != then[key]]
    if different:
        shown = ", ".join(f"{key} {then[key]} would be {now.get(key)}" for key in different)
        raise RunFailed(f"the plan would be another one now: {shown}", hint="start it again with `ql launch`")
    asked_files, hashes = run.record.asked_files or {}, prepared.hashes
    edited = [name for name, before in asked_files.items() if hashes.get(name, before) != before]
    if edited:
        raise RunFailed(
            f"this run was asked for with another {asked.config}: changed since, {', '.join(edited)}",
            hint="put it back, or start it again with `ql launch`",
        )
    return prepared


def _run_stage(run: Run, name: str, stage: Stage, observer: Observer) -> None:
    observer.stage(name, "running")
    try:
        with run.running(name):
            stage(run, observer)
    except QlError as error:
        observer.stage(name, "failed")
        _require_there(run)
        raise RunFailed([*error.problems, *_where(run)]) from error
    except OSError as error:  # a full disk, most likely
        observer.stage(name, "failed")
        _require_there(run)
        said = f"{name}: {error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        raise RunFailed([Problem(said, hint=remedy(error)), *_where(run)]) from error
    except BaseException:
        observer.stage(name, run.stage(name).state)
        raise
    observer.stage(name, "done")


def _require_there(run: Run) -> None:
    """Raises RunFailed where the run's folder is no more: that, and not what failed for it, is what to say."""
    if not (run.path / MANIFEST).is_file():
        hint = "put it back and `ql resume` it, or start again with `ql launch`"
        raise RunFailed(f"{run.path} was moved or removed while the run went on", hint=hint)


def _where(run: Run) -> list[Problem]:
    return [Problem(f"the run's files are in {run.path}", hint=f"ql resume {quote(str(run.path))} goes on from there")]
