"""Stopping the other probes of a run for the seconds that one of them is timed, and letting them go on.

Each probe is a process group of its own, and says in a folder that it is there. Whoever times a shape holds the lock of
the run, so that two never stop each other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

_TIMER: list[threading.Timer] = []
LIMIT_SECONDS = 40.0  # after which the others go on whatever happens: one may hold a lock of a compiler's cache


def register(folder: Path) -> None:
    """Say that this process, the leader of its group, is one of the run in ``folder``."""
    there = folder / "probes"
    there.mkdir(exist_ok=True)
    (there / str(os.getpid())).touch()


def _groups(folder: Path) -> Iterator[int]:
    for path in (folder / "probes").glob("*"):
        process = int(path.name)
        with contextlib.suppress(OSError):
            if b"probe.py" in Path(f"/proc/{process}/cmdline").read_bytes() and process != os.getpid():
                yield process


def _send(folder: Path, number: signal.Signals) -> int:
    sent = 0
    for process in _groups(folder):
        with contextlib.suppress(OSError):
            os.killpg(process, number)
            sent += 1
    return sent


def stop(folder: Path) -> int:
    """Stop the other probes; how many there are. They go on after `LIMIT_SECONDS` by themselves."""
    timer = threading.Timer(LIMIT_SECONDS, wake, (folder,))
    timer.daemon = True
    timer.start()
    _TIMER.append(timer)
    return _send(folder, signal.SIGSTOP)


def wake(folder: Path) -> None:
    """Let all probes go on."""
    while _TIMER:
        _TIMER.pop().cancel()
    _send(folder, signal.SIGCONT)
