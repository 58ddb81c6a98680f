"""run.json: what was asked, decided, done and found, replaced atomically after each change."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from launcher.catalog.check import check
from launcher.errors import QlError, RunFailed, Unreadable
from launcher.files import read_bounded, write_json
from launcher.planning.plan import RECORDED, Plan
from launcher.processes.secrets import redact_all
from launcher.records.codec import decode, encode
from launcher.records.run import VERSION, Manifest, Repair, Resume, Stage
from launcher.runs.events import append_event

MANIFEST = "run.json"
LATEST = "latest"
JOB = "job.yaml"  # in a folder that waits for its run: what `ql start` launches there
# What a run writes into its folder: never over what somebody put there.
WRITTEN = frozenset({
    MANIFEST, "config.yaml", "train.py", "chat_template.jinja", "overlay.yaml", "effective.yaml", "train.log",
    "events.jsonl", "data", "trainer", "adapter", "merged", "golden", "report.html",
})  # fmt: skip


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Run:
    """A run directory and its manifest."""

    path: Path
    record: Manifest

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as it holds now: with what repairs have changed, which ``record.plan`` is without."""
        return {**self.record.plan, **self.record.changes}

    def read_plan(self) -> Plan:
        """`plan` as planning knows it, without who decided. Raises RunFailed when it is of another version of ql."""
        data = self.plan
        for name in RECORDED:
            if name not in data:
                raise RunFailed(f"this run's plan has no {name}: it is of another version of ql")
        values: dict[str, Any] = {name: data[name] for name in RECORDED}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Plan(**values)

    @property
    def trainer_python(self) -> str:
        """Raises RunFailed where the manifest names none."""
        if self.record.trainer_python is None:
            raise RunFailed(f"{self.path.name} does not say which python has the trainer", hint="--trainer-python PATH")
        return self.record.trainer_python

    @property
    def base_folder(self) -> str:
        """Raises RunFailed where the run has not found its base yet."""
        if self.record.base_folder is None:
            raise RunFailed(f"{self.path.name} has no base model yet: it was stopped while it was prepared")
        return self.record.base_folder

    @property
    def chat_template(self) -> str | None:
        """The path of the run's own template; None where the tokenizer's is used."""
        path = self.path / "chat_template.jinja"
        return str(path) if path.is_file() else None

    @property
    def device(self) -> str:
        """Where its models are run, as a job is asked."""
        return "cpu" if self.plan["on_cpu"] else "auto"

    def save(self) -> None:
        """Replace run.json, durably. Tokens that found their way into a message do not find theirs into the file."""
        write_json(self.path / MANIFEST, redact_all(encode(self.record)))

    def stage(self, name: str) -> Stage:
        return self.record.stage(name)

    def add_note(self, text: str) -> bool:
        """Keep what a person should know, once; whether it is new. It is on disk with the next save."""
        new = text not in self.record.notes
        if new:
            self.record.notes.append(text)
        return new

    def record_repair(
        self, *, stage: str, kind: str, cause: str, action: str, step: int | None, before: Any, after: Any
    ) -> Repair:
        """Write down, in run.json and events.jsonl, that the launcher mended something; the record comes back.

        ``kind`` is what went wrong (oom_train, oom_eval, fp16_overflow, …), ``cause`` and ``action`` are words for a
        person, ``before`` and ``after`` the settings that changed, by name.
        """
        repair = Repair(
            time=now(), stage=stage, kind=kind, cause=cause, action=action, step=step, before=before, after=after
        )
        self.record.repairs.append(repair)
        self.save()
        append_event(self.path, "repair", **{key: value for key, value in encode(repair).items() if key != "time"})
        return repair

    def record_resume(self, stage: str, from_step: int | None, answers: int | None = None) -> None:
        """Write down that the run was taken up again: in ``stage``, from which step, with how many golden answers."""
        self.record.resumes.append(Resume(time=now(), stage=stage, from_step=from_step, answers=answers))
        self.save()
        append_event(self.path, "resume", stage=stage, from_step=from_step)

    def skip(self, name: str, reason: str) -> None:
        stage = self.stage(name)
        stage.state, stage.reason = "skipped", reason
        self.save()

    @contextmanager
    def running(self, name: str) -> Iterator[Stage]:
        """Record a stage's start, end, duration and result; a stage that raises is recorded as failed or stopped."""
        stage = self.stage(name)
        stage.state, stage.started = "running", now()
        stage.forget("error")
        self.save()
        begin, before = time.monotonic(), stage.seconds or 0.0
        try:
            yield stage
        except BaseException as error:
            ended: Literal["stopped", "failed"] = (
                "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
            )
            stage.state, stage.error = ended, str(error) or type(error).__name__
            self.record.state = ended
            raise
        else:
            stage.state = "done"
        finally:
            stage.seconds = round(before + time.monotonic() - begin, 3)
            self.save()


def create_run(parent: Path, name: str, record: Manifest, *, exactly: Path | None = None) -> Run:
    """Make ``parent/name-<UTC time>``, or the folder ``exactly``, with its manifest; ``latest`` points at it if it can.

    The record is named after the folder.

    Two launches in one second get two directories. Raises Unreadable when the place cannot be written, or when
    ``exactly`` exists and is not empty.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path = _make_folder(parent, name) if exactly is None else _claim(exactly)
        run = Run(path.resolve(), replace(record, name=path.name))
        run.save()
    except OSError as error:
        hint = "name a folder that can be written with --out"
        raise Unreadable(f"cannot write runs to {parent}: {error.strerror or error}", hint=hint) from None
    _point_at(path)
    return run


def _point_at(path: Path) -> None:
    """Let ``latest`` beside the run be a link to it, where the file system has links and no folder is called so."""
    link = path.with_name(f".latest-{os.getpid()}")
    try:
        link.symlink_to(path.name, target_is_directory=True)
        link.replace(path.with_name(LATEST))
    except OSError:
        link.unlink(missing_ok=True)


def _make_folder(parent: Path, name: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for count in itertools.count(1):
        path = parent / (f"{name}-{stamp}" if count == 1 else f"{name}-{stamp}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError("count() does not end")


def _claim(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    there = {each.name for each in path.iterdir()}
    if JOB not in there and there:
        raise Unreadable(f"{path} is not empty: a run gets a folder of its own")
    if taken := sorted(there & WRITTEN):
        hint = f"only {JOB} and what it names may be there before"
        raise Unreadable(f"{path} holds {', '.join(taken)}, which the run would write", hint=hint)
    return path


def open_run(name: str | Path, parent: Path = Path("runs")) -> Run:
    """A run by its path, by its name under ``parent``, or ``latest``.

    Raises Unreadable when there is no such run or its manifest cannot be read.
    """
    for path in (Path(name), parent / name):
        if (path / MANIFEST).is_file():
            break
    else:
        runs = list_runs(parent)
        if runs and str(name) == LATEST and not (parent / LATEST).is_symlink():  # a file system without links
            return runs[-1]
        known = [run.path.name for run in runs]
        hint = f"runs in {parent}/: {', '.join(known[-5:])}" if known else f"there are no runs in {parent}/"
        raise Unreadable(f"no run {str(name)!r}", hint=hint)
    return Run(path.resolve(), _read(path / MANIFEST))


def _read(manifest: Path) -> Manifest:
    try:
        data = json.loads(read_bounded(manifest))
    except (OSError, ValueError, RecursionError, Unreadable) as error:
        raise Unreadable(f"{manifest} cannot be read: {error}") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        found = data.get("version") if isinstance(data, dict) else None
        hint = "a newer ql wrote it" if isinstance(found, int) and found > VERSION else None
        raise Unreadable(f"{manifest} cannot be read: it is not a run manifest of version {VERSION}", hint=hint)
    problems = check(data, "run.json")
    if problems:
        said = problems[0].message + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
        hint = f"`ql validate {quote(str(manifest))}` shows all that is wrong"
        raise Unreadable(f"{manifest} cannot be read: {said}", hint=hint)
    return decode(Manifest, data, file=f"{manifest} cannot be read")


@contextmanager
def as_written(run: Run) -> Iterator[None]:
    """Raises Unreadable for what the block finds missing in a manifest: another version of ql, or a hand, wrote it."""
    try:
        yield
    except (QlError, OSError):
        raise
    except Exception as error:  # Jinja's own among them
        said = f"{type(error).__name__}: {error}"
        raise Unreadable(f"{run.path / MANIFEST} is not as ql writes it: {said}") from error


def list_runs(parent: Path, on_bad: Callable[[Unreadable], None] = lambda error: None) -> list[Run]:
    """All readable runs under ``parent``, oldest first. ``on_bad`` hears of those whose manifest cannot be read."""
    runs = []
    for manifest in parent.glob(f"*/{MANIFEST}"):
        if manifest.parent.is_symlink():
            continue
        try:
            runs.append(open_run(manifest.parent))
        except Unreadable as error:
            on_bad(error)
    return sorted(runs, key=lambda run: (run.record.created, run.path.name))
