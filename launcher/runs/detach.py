"""Start a process that works on a run and does not end with this one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import BadInput, RunFailed, Unreadable
from launcher.processes.child import tail
from launcher.runs.lock import is_locked, locked
from launcher.runs.run import open_run

LOG = "launch.log"
WAIT = 60.0  # seconds for the new process to take the run
POLL = 0.1


def start_detached(folder: Path, command: Sequence[str]) -> int:
    """Let another process, in a session of its own, run ``command``; its id, once it holds the run in ``folder``.

    Its output goes to launch.log. Raises RunFailed when another process works on the run, or when the new one ends
    before it has begun, with the exit code that it had.
    """
    with locked(folder):
        pass
    before = open_run(folder).record
    with (folder / LOG).open("a") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    deadline = time.monotonic() + WAIT
    while not is_locked(folder) and open_run(folder).record == before:
        if process.poll() is not None or time.monotonic() > deadline:
            last = tail(folder / LOG, 3)
            failed = RunFailed(f"the detached process did not begin: {' '.join(last) or 'no output'}")
            if process.returncode in (BadInput.exit_code, Unreadable.exit_code):
                failed.exit_code = process.returncode
            raise failed
        time.sleep(POLL)
    process.returncode = 0  # it is not ours any more: nothing is to wait for it, or warn that nobody did
    return process.pid
