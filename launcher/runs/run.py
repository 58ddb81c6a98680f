"""run.json: what was asked, decided, done and found, replaced atomically after each change."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from launcher.catalog.check import check
from launcher.errors import QlError, RunFailed, Unreadable
from launcher.files import read_bounded, write_json
from launcher.planning.plan import Plan
from launcher.processes.secrets import redact_all
from launcher.runs.events import append_event

MANIFEST = "run.json"
LATEST = "latest"
VERSION = 1  # of its layout: schemas/run.json
STAGES = ("prepare", "train", "evaluate", "merge", "verify", "report")


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Run:
    """A run directory and its manifest.

    ``data["state"]`` is one of ``running``, ``finished``, ``failed``, ``stopped``; a stage's state is one of
    ``pending``, ``running``, ``done``, ``skipped``, ``failed``, ``stopped``. Times are seconds.
    """

    path: Path
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> dict[str, Any]:
        return self.data

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as it holds now: with what repairs have changed, which ``data["plan"]`` is without."""
        return {**self.data["plan"], **(self.data.get("changes") or {})}

    def read_plan(self) -> Plan:
        """`plan` as planning knows it. Raises RunFailed when it is of another version of ql."""
        data = self.plan
        try:
            values: dict[str, Any] = {item.name: data[item.name] for item in fields(Plan)}
        except KeyError as error:
            raise RunFailed(f"this run's plan has no {error.args[0]}: it is of another version of ql") from None
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return Plan(**values)

    @property
    def trainer_python(self) -> str:
        python: str = self.data["trainer_python"]
        return python

    def save(self) -> None:
        """Replace run.json, durably. Tokens that found their way into a message do not find theirs into the file."""
        write_json(self.path / MANIFEST, redact_all(self.data))

    def stage(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(stage for stage in self.data["stages"] if stage["name"] == name)
        return found

    def record_repair(
        self, *, stage: str, kind: str, cause: str, action: str, step: int | None, before: Any, after: Any
    ) -> dict[str, Any]:
        """Write down, in run.json and events.jsonl, that the launcher mended something; the record comes back.

        ``kind`` is what went wrong (oom_train, oom_eval, fp16_overflow, …), ``cause`` and ``action`` are words for a
        person, ``before`` and ``after`` the settings that changed, by name.
        """
        record = {
            "stage": stage, "kind": kind, "cause": cause, "action": action, "step": step,
            "before": before, "after": after,
        }  # fmt: skip
        self.data.setdefault("repairs", []).append({"time": now(), **record})
        self.save()
        append_event(self.path, "repair", **record)
        return record

    def record_resume(self, stage: str, from_step: int | None) -> None:
        """Write down that the run was taken up again, in ``stage`` and, where that is training, from which step."""
        self.data.setdefault("resumes", []).append({"time": now(), "stage": stage, "from_step": from_step})
        self.save()
        append_event(self.path, "resume", stage=stage, from_step=from_step)

    def skip(self, name: str, reason: str) -> None:
        self.stage(name).update(state="skipped", reason=reason)
        self.save()

    @contextmanager
    def running(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a stage's start, end, duration and result; a stage that raises is recorded as failed or stopped."""
        stage = self.stage(name)
        stage.update(state="running", started=now())
        stage.pop("error", None)
        self.save()
        begin, before = time.monotonic(), stage.get("seconds") or 0.0
        try:
            yield stage
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            stage.update(state="stopped" if stopped else "failed", error=str(error) or type(error).__name__)
            self.data["state"] = "stopped" if stopped else "failed"
            raise
        else:
            stage["state"] = "done"
        finally:
            stage["seconds"] = round(before + time.monotonic() - begin, 3)
            self.save()


def new_manifest(**facts: Any) -> dict[str, Any]:
    """A manifest of a run that has not begun."""
    stages = [{"name": name, "state": "pending", "seconds": None} for name in STAGES]
    return {
        "version": VERSION,
        "state": "running",
        "created": now(),
        **facts,
        "stages": stages,
        "repairs": [],
        "resumes": [],
    }


def create_run(parent: Path, name: str, data: dict[str, Any], *, exactly: Path | None = None) -> Run:
    """Make ``parent/name-<UTC time>``, or the folder ``exactly``, with its manifest; ``latest`` points at it if it can.

    Two launches in one second get two directories. Raises Unreadable when the place cannot be written, or when
    ``exactly`` exists and is not empty.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path = _make_folder(parent, name) if exactly is None else _claim(exactly)
        run = Run(path.resolve(), {"name": path.name, **data})
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
    if any(path.iterdir()):
        raise Unreadable(f"{path} is not empty: a run gets a folder of its own")
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


def _read(manifest: Path) -> dict[str, Any]:
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
    return data


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
    return sorted(runs, key=lambda run: (run.data["created"], run.path.name))
