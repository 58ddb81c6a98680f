"""Launch: from a prepared run to a finished one. Each stage's result is recorded before the next begins."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from launcher import __version__
from launcher.errors import Problem, RunFailed
from launcher.files import sha256_file
from launcher.planning.plan import Plan
from launcher.runs import preflight, stages
from launcher.runs.expected import expected
from launcher.runs.follow import Recording
from launcher.runs.lock import locked
from launcher.runs.observer import Observer
from launcher.runs.prepare import Prepared
from launcher.runs.run import Run, create_run, new_manifest
from launcher.trainers import get_trainer

Stage = Callable[[Run, Observer], None]


@dataclass(frozen=True)
class LaunchOptions:
    """What a person may choose about the run beside the plan."""

    runs_dir: Path
    out: Path | None = None
    trainer_python: str = sys.executable
    base_mode: str = "dequantized"
    merge: bool = True
    cap: bool = True
    track: tuple[str, ...] = ()  # names of experiment trackers
    usd_per_hour: float | None = None  # None: the card's own price, where one is known


def launch(prepared: Prepared, options: LaunchOptions, observer: Observer) -> Run:
    """Run every stage. The run comes back finished; a missed gate is for the caller to look at in ``data["gates"]``.

    Raises RunFailed when the run cannot start (then nothing has been written) or a stage fails, Unreadable when the
    output folder cannot be written. SIGINT raises KeyboardInterrupt, SIGTERM SystemExit(143), once the trainer has
    been stopped and the manifest says so.
    """
    environment = preflight.examine(options.trainer_python)
    fraction, notes = preflight.check_environment(prepared.plan, prepared.gpu, prepared.memory.needed_gib, environment)
    preflight.check_trackers(options.track, environment)
    preflight.check_base(prepared.plan.base_model)
    preflight.check_disk(prepared, options.out or options.runs_dir, merge=options.merge)
    run = _create(prepared, options, environment, fraction if options.cap else None, notes)
    for note in run.data["notes"]:
        observer.note(note)
    with locked(run.path), _sigterm_raises():
        _run_stages(run, _stages(prepared, options), Recording(run.path, observer))
        run.data["state"] = "finished"
        run.save()
    return run


def _create(
    prepared: Prepared,
    options: LaunchOptions,
    environment: dict[str, Any],
    fraction: float | None,
    notes: Sequence[str],
) -> Run:
    golden = prepared.golden_path
    facts = {
        "ql_version": __version__,
        "plan": prepared.plan.to_dict(),
        "estimate": expected(prepared, options.usd_per_hour),
        "max_position_embeddings": prepared.request.model.max_position_embeddings,
        "model_facts": {
            "title": prepared.request.model.title,
            "license": prepared.request.model.license,
            "parameters": prepared.request.model.parameters,
        },
        "data": prepared.data_source,
        "golden": golden
        and {
            "path": str(golden.resolve()),
            "sha256": sha256_file(golden),
            "rows": len(prepared.golden),
            "gates": [gate.text for gate in prepared.gates],
        },
        "environment": environment,
        "trainer_python": options.trainer_python,
        "memory_fraction": fraction,
        "overlay": prepared.overlay,
        "track": list(options.track),
        "base_mode": options.base_mode,
        "base_folder": None,
        "notes": list(notes) + _notes(prepared),
        "gates": [],
    }
    name = prepared.plan.preset or f"{prepared.plan.gpu}-{prepared.plan.model}"
    if options.out is not None:
        return create_run(options.out.parent, name, new_manifest(**facts), exactly=options.out)
    return create_run(options.runs_dir, name, new_manifest(**facts))


def _notes(prepared: Prepared) -> list[str]:
    notes = list(prepared.notes)
    if prepared.excess:
        notes.append(prepared.excess)
    if prepared.golden_path is None:
        notes.append("no golden set: gates are skipped, and the evaluation loss alone is looked at")
    if prepared.plan.eval_fraction == 0:
        notes.append("eval_fraction is 0: there is no evaluation loss")
    return notes


def _stages(prepared: Prepared, options: LaunchOptions) -> dict[str, Stage | str]:
    """Each stage's function, or why it is skipped."""

    def prepare(run: Run, observer: Observer) -> None:
        run.data["base_folder"] = preflight.fetch_base(
            options.trainer_python, prepared.plan.base_model, run.path / "prepare.log"
        )
        run.data["data"].update(prepared.write(run.path))

    no_merge = "asked for with --no-merge"
    return {
        "prepare": prepare,
        "train": stages.train,
        "evaluate": stages.evaluate if prepared.golden_path else "no golden set",
        "merge": stages.merge if options.merge else no_merge,
        "verify": stages.verify if options.merge else no_merge,
        "report": stages.report,
    }


def _run_stages(run: Run, todo: dict[str, Stage | str], observer: Observer) -> None:
    for name, stage in todo.items():
        if isinstance(stage, str):
            run.skip(name, stage)
            observer.stage(name, "skipped", stage)
            continue
        observer.stage(name, "running")
        try:
            with run.running(name):
                stage(run, observer)
        except RunFailed as error:
            observer.stage(name, "failed")
            raise RunFailed([*error.problems, Problem(f"the run's files are in {run.path}")]) from error
        except BaseException:
            observer.stage(name, run.stage(name)["state"])
            raise
        observer.stage(name, "done")


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM (a spot instance taken back) unwinds the stages like Ctrl-C does, and exits with 143."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def dry_run(prepared: Prepared, usd_per_hour: float | None = None) -> dict[str, Any]:
    """What `--dry-run` prints: the plan, the config's text and the estimate."""
    plan: Plan = prepared.plan
    return {
        "plan": plan.to_dict(),
        "files": prepared.files,
        "estimate": expected(prepared, usd_per_hour),
        "command": get_trainer(plan.backend).command,
        "findings": [finding.to_dict() for finding in prepared.findings],
        "notes": _notes(prepared),
    }
