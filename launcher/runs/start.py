"""`ql start`: find the folder, and stop a run that is restarted again and again without progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from launcher.errors import RunFailed, Unreadable
from launcher.runs.execute import first_unfinished
from launcher.runs.lock import locked
from launcher.runs.resume import reached
from launcher.runs.run import JOB, MANIFEST, Run, now, open_run

MOST_STARTS = 5  # times that a run is taken up without a new step or stage
STARTS = "starts"  # in a folder whose job was launched, and is no run yet: when, a line for each time
SIGNALLED = (130, 143)  # exit codes of a launch that was stopped from outside


def find_folder(name: str, parent: Path) -> Path:
    """The folder of a run, or of a job that waits for one, by its path or its name under ``parent``.

    Raises Unreadable where there is neither.
    """
    for path in (Path(name), parent / name):
        if any((path / file).is_file() for file in (MANIFEST, JOB)):
            return path.resolve()
    if Path(name).is_dir():
        hint = f"`ql launch` makes runs, `ql init` writes a {JOB}"
        raise Unreadable(f"{name} has neither a run nor a {JOB}", hint=hint)
    return open_run(name, parent).path  # `latest`, or what to say of a name that is no run's


def require_progress(run: Run) -> None:
    """Raises RunFailed, and records why, when the last `MOST_STARTS` resumes made no progress.

    For schedulers and reboots, which would otherwise restart a run for ever that fails at the same point.
    """
    stage = first_unfinished(run)
    last = run.record.resumes[-MOST_STARTS:]
    if stage is None or len(last) < MOST_STARTS:
        return
    here = (stage, *reached(run, stage))
    if any((each.stage, each.from_step, each.answers) != here for each in last):
        return
    where = f" past step {here[1]}" if here[1] is not None else ""
    said = f"{stage}: resumed {MOST_STARTS} times in a row without progress{where}"
    ended = run.stage(stage).error
    with locked(run.path):
        run.record.state, run.stage(stage).state = "failed", "failed"
        if run.add_note(said):
            run.save()
    log = "train.log" if stage == "train" else f"{stage}.log"
    hint = f"see {run.path / log}; once the cause is fixed, `ql resume {quote(str(run.path))}`"
    raise RunFailed(said + (f"; the last error was: {ended}" if ended else ""), hint=hint)


@contextmanager
def counted_launch(folder: Path) -> Iterator[None]:
    """A launch of the job in ``folder``, counted until it has said how it ended.

    Raises RunFailed after five launches that were killed before they had created a run. One that ended by itself, with
    an error or with a run, is no reason to stop the next.
    """
    path = folder / STARTS
    before = path.read_bytes().count(b"\n") if path.is_file() else 0
    if before >= MOST_STARTS:
        hint = f"`ql launch {quote(str(folder / JOB))} --dry-run` shows the plan; remove {path} to try again"
        raise RunFailed(f"{folder / JOB} was launched {before} times without a run being created", hint=hint)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{now()}\n")
    try:
        yield
    except SystemExit as ended:
        if ended.code not in SIGNALLED:
            path.unlink(missing_ok=True)
        raise
    except Exception:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
