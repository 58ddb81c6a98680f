"""What of a run goes to the hub, and the record that it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import BadInput, Problem, RunFailed
from launcher.records.events import Message
from launcher.records.jobs import PUSH, PushedFiles, PushRequest
from launcher.records.run import Pushed
from launcher.runs.results.model_cards import write_cards
from launcher.runs.run import Run, now
from launcher.trainers.workers import call_worker


@dataclass(frozen=True)
class Upload:
    """A folder of a run that is ready to be uploaded; ``files`` are relative to it."""

    subject: str
    folder: Path

    @property
    def files(self) -> list[str]:
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))

    @property
    def bytes(self) -> int:
        return sum((self.folder / name).stat().st_size for name in self.files)


def what_to_push(run: Run, *, adapter: bool = False, missed_gates: bool = False) -> Upload:
    """merged/ of the run, or adapter/, with its card written anew.

    Raises RunFailed when the run has not made it, BadInput when the run missed a gate and nobody said that it may go.
    """
    subject = "adapter" if adapter else "merged"
    folder = run.path / subject
    if not folder.is_dir():
        hint = "the training must end first" if adapter else "`ql merge RUN` makes it, --adapter uploads the adapter"
        raise RunFailed(f"{run.path.name} has no {subject}/", hint=hint)
    missed = [gate for gate in run.record.gates if not gate.passed]
    if missed and not missed_gates:
        problems = [Problem(f"gate {gate.gate} missed: {gate.reason}") for gate in missed]
        problems.append(Problem("not uploaded", hint="--missed-gates uploads it all the same; the card says so"))
        raise BadInput(problems)
    write_cards(run)
    return Upload(subject, folder)


def push(
    run: Run,
    what: Upload,
    repo: str,
    *,
    private: bool,
    revision: str | None,
    message: str | None,
    show: Callable[[Message], None],
) -> PushedFiles:
    """Upload; where it went is in the manifest too. Raises RunFailed as the worker job `push` does."""
    request = PushRequest(
        folder=str(what.folder),
        repo=repo,
        private=private,
        revision=revision,
        message=message or f"{what.subject} of {run.path.name}",
    )
    sent = call_worker(run.trainer_python, PUSH, request, run.path / "push.log", show)
    run.record.pushed.append(
        Pushed(
            repo=repo,
            subject=what.subject,
            revision=revision or "main",
            time=now(),
            url=sent.url,
            commit=sent.commit,
        )
    )
    run.save()
    return sent
