"""Launch: from a prepared run to a finished one. Each stage's result is recorded before the next begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher import __version__
from launcher.files import plain_name, sha256_file
from launcher.planning.plan import Plan
from launcher.preparing.asked import Asked
from launcher.preparing.overridden import overridden
from launcher.preparing.prepared import GivenFile, Prepared
from launcher.records.codec import encode
from launcher.records.environment import Environment
from launcher.records.run import (
    STAGES,
    VERSION,
    GoldenSet,
    Manifest,
    ModelFacts,
    RepairPolicy,
    Stage,
)
from launcher.runs import preflight
from launcher.runs.execute import execute
from launcher.runs.lock import locked, say_begun
from launcher.runs.observer import Observer
from launcher.runs.preflight.machine import require_writable
from launcher.runs.run import Run, create_run, now
from launcher.sizing.cost import SAVE_SECONDS
from launcher.trainers import get_trainer

REMOTE_CODE = "QL616"  # the finding that a config lets the model's own code run


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
    policy: RepairPolicy = field(default_factory=RepairPolicy)
    asked: Asked | None = None  # None: the stage prepare cannot be begun again


def launch(prepared: Prepared, options: LaunchOptions, observer: Observer) -> Run:
    """`create` and `carry_out`: every stage, here. The run comes back as `carry_out` returns it."""
    return carry_out(create(prepared, options, observer), observer, prepared)


def create(prepared: Prepared, options: LaunchOptions, observer: Observer, grace: float | None = None) -> Run:
    """The run's folder with its manifest, no stage begun: `ql start` goes on from there, wherever it is.

    ``grace`` is how many seconds its place leaves between SIGTERM and SIGKILL, where it counts them.

    Raises RunFailed when the run cannot start (then nothing has been written), Unreadable when the output folder cannot
    be written.
    """
    folder = options.out or options.runs_dir
    require_writable(folder)
    environment = preflight.examine(options.trainer_python, prepared.plan.backend)
    fraction, notes = preflight.check_start(prepared, environment, folder, merge=options.merge)
    preflight.check_trackers(options.track, environment)
    given = options.policy.stop_seconds if grace is None else min(grace, options.policy.stop_seconds)
    notes = [*notes, *grace_notes(prepared.forecast.step_seconds, given)]
    run = _create(prepared, options, environment, fraction if options.cap else None, notes)
    for warning in run.record.warnings:
        observer.warning(warning)
    for note in run.record.notes:
        observer.note(note)
    return run


def carry_out(run: Run, observer: Observer, prepared: Prepared) -> Run:
    """Run every stage. The run comes back finished; a missed gate is for the caller to look at in ``record.gates``.

    Raises RunFailed when a stage fails. SIGINT raises KeyboardInterrupt, SIGTERM SystemExit(143), once the trainer has
    been stopped and the manifest says so.
    """
    with locked(run.path):
        say_begun(run.path)
        execute(run, observer, prepared)
    return run


def _create(
    prepared: Prepared,
    options: LaunchOptions,
    environment: Environment,
    fraction: float | None,
    notes: Sequence[str],
) -> Run:
    name = prepared.plan.preset or f"{prepared.plan.gpu}-{prepared.plan.model}"
    model = prepared.request.model
    record = Manifest(
        name=name,
        version=VERSION,
        state="running",
        created=now(),
        ql_version=__version__,
        plan=prepared.plan.record(),
        asked=options.asked.record() if options.asked else None,
        # What the person wrote by hand; ql's own files follow from the plan.
        asked_files=prepared.hashes if options.asked and options.asked.config else None,
        overridden=overridden(prepared.plan, prepared.request),
        estimate=prepared.estimate,
        max_position_embeddings=model.max_position_embeddings,
        model_facts=ModelFacts(title=model.title, license=model.license, parameters=model.parameters),
        data=prepared.data_record,
        golden=_golden(prepared),
        environment=environment,
        trainer_python=options.trainer_python,
        memory_fraction=fraction,
        overlay=prepared.overlay,
        track=list(options.track),
        repair_policy=options.policy,
        base_mode=options.base_mode,
        merge_wanted=options.merge,
        lengths_estimated=prepared.is_estimated,
        warnings=warnings_of(prepared),
        notes=list(notes) + notes_of(prepared),
        stages=[Stage(name=stage, state="pending") for stage in STAGES],
    )
    if options.out is not None:
        return create_run(options.out.parent, name, record, exactly=options.out)
    return create_run(options.runs_dir, plain_name(name), record)


def _golden(prepared: Prepared) -> GoldenSet | None:
    path = prepared.golden_path
    if path is None:
        return None
    gates = [gate.text for gate in prepared.gates]
    return GoldenSet(path=str(path.resolve()), sha256=sha256_file(path), rows=len(prepared.golden), gates=gates)


def warnings_of(prepared: Prepared) -> list[str]:
    """What may be wrong, with the config that a person edited and with the rows, before the run begins."""
    return [*prepared.warnings, *(prepared.rows.report.warnings() if isinstance(prepared.rows, GivenFile) else ())]


def notes_of(prepared: Prepared) -> list[str]:
    """What a person should know of the run before it begins."""
    notes = list(prepared.notes)
    if isinstance(prepared.rows, GivenFile):  # files that a config names are trained as they are, not as ql reads them
        notes += prepared.rows.report.notes
    notes += [found.message for found in prepared.findings if found.code == REMOTE_CODE]
    if prepared.rows.excess:
        notes.append(prepared.rows.excess)
    if prepared.golden_path is None:
        notes.append("no golden set: gates are skipped, and the evaluation loss alone is looked at")
    if prepared.plan.eval_fraction == 0:
        notes.append("eval_fraction is 0: there is no evaluation loss")
    return notes


def grace_notes(step_seconds: float | None, within: float) -> list[str]:
    """What a SIGTERM would cost where a step and its checkpoint take longer than it leaves, ``within`` seconds."""
    if step_seconds is None or step_seconds + SAVE_SECONDS <= within:
        return []
    takes = f"a step takes about {step_seconds:.0f} s and its checkpoint {SAVE_SECONDS:.0f} s"
    return [f"{takes}, but SIGTERM leaves {within:.0f} s: it would lose the steps since the last checkpoint"]


def dry_run(prepared: Prepared) -> dict[str, object]:
    """What `--dry-run` prints: the plan, the config's text and the estimate."""
    plan: Plan = prepared.plan
    return {
        "plan": plan.to_dict(),
        "files": prepared.files,
        "estimate": encode(prepared.estimate),
        "command": get_trainer(plan.backend).command,
        "findings": [finding.to_dict() for finding in prepared.findings],
        "warnings": warnings_of(prepared),
        "notes": notes_of(prepared),
    }
