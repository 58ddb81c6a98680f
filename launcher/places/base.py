"""What a place is asked, and what it knows: nothing of training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class Wants:
    """What the run needs of a machine. None: not known."""

    gpu: str  # name of the card in presets/gpus; `cpu` for none
    gib: float | None = None  # of the card's memory
    hours: float | None = None  # forecast, stages after the training included


@dataclass(frozen=True)
class Submission:
    """A run that is prepared: its folder has run.json, or job.yaml and what that names.

    ``words`` are more options of `ql start`. ``here`` does the same in this process, with this process's view of it:
    for the place that is here, and for no other.
    """

    folder: Path
    wants: Wants
    words: tuple[str, ...] = ()
    here: Callable[[], object] | None = None

    @property
    def command(self) -> list[str]:
        """The one line that a place starts, as often as it likes: a second time it goes on, or finds it done."""
        return [*ourselves(), "start", str(self.folder), *self.words]


@dataclass(frozen=True)
class PlaceState:
    """How a submission stands: ``waiting`` for its turn, ``running``, ``ended`` or ``gone``, in the place's words."""

    kind: Literal["waiting", "running", "ended", "gone"]
    words: str = ""


class Place(Protocol):
    """Starts `Submission.command` somewhere. A handle is text that finds a submission again, from another process."""

    name: str
    summary: str  # one line, for people
    # Seconds between the first SIGTERM to a run there and SIGKILL; None: nobody counts them but ql (--stop-within).
    grace_seconds: float | None

    def submit(self, submission: Submission) -> str:
        """The handle, as soon as the place has the run. Raises RunFailed where it does not take it."""
        ...

    def state(self, folder: Path, handle: str) -> PlaceState:
        """How it stands now."""
        ...

    def stop(self, folder: Path, handle: str) -> None:
        """Ask it to save and end; that is known from `state` and from run.json. Nothing happens to one that ended."""
        ...

    def fetch(self, folder: Path, handle: str) -> None:
        """Bring the run's folder, as it is there now, to ``folder``."""
        ...


def ourselves() -> list[str]:
    """The command line that this process was started with, up to its first argument."""
    started = sys.argv[0]
    if started.endswith("__main__.py") or not Path(started).is_file():
        return [sys.executable, "-m", "launcher"]
    return [sys.executable, str(Path(started).absolute())]
