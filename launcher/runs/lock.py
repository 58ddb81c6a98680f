"""One process per run: a lock that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from launcher.errors import RunFailed

LOCK = "lock"
TRIES, PAUSE = 10, 0.1  # somebody who only looks whether a run is alive holds a shared lock for an instant


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run in ``folder`` while the block runs. Raises RunFailed, naming the holder, when another process does.

    The lock is flock(2) on the file ``lock``: it belongs to an open file, not to what is written in it, so that one
    left by a crash, or by another machine that is gone, is known to be stale because it can be taken.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        for left in range(TRIES, -1, -1):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise RunFailed(
                        f"{folder} is being worked on by {_holder(folder)}",
                        hint=f"`ql runs {quote(str(folder))} --follow` watches it",
                    ) from None
                time.sleep(PAUSE)
        _write(descriptor, {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()})
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the run."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def say_begun(folder: Path) -> None:
    """Let whoever looks know that the holder, this process, has passed every check and works on the run."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        _write(descriptor, {**holder(folder), "begun": _now()})
    finally:
        os.close(descriptor)


def has_begun(folder: Path, pid: int) -> bool:
    """Whether process ``pid`` said so."""
    said = holder(folder)
    return said.get("pid") == pid and said.get("begun") is not None


def holder(folder: Path) -> dict[str, object]:
    """What the last holder wrote about itself: pid, host, since, begun; empty when it cannot be read."""
    try:
        said = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _holder(folder: Path) -> str:
    said = holder(folder)
    if not said:
        return "another process"
    return f"process {said.get('pid')} on {said.get('host')} since {said.get('since')}"


def _write(descriptor: int, said: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(said).encode() + b"\n", 0)


def _now() -> str:
    return datetime.now(UTC).isoformat("T", "seconds")
