"""Start a process that works on a run and does not end with this one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import BadInput, RunFailed, Unreadable
from launcher.processes.child import tail
from launcher.runs.lock import has_begun, is_locked, locked

LOG = "launch.log"
WAIT = 60.0  # seconds for the new process to begin
POLL = 0.1


def start_detached(folder: Path, command: Sequence[str]) -> int:
    """Let another process, in a session of its own, run ``command``; its id, once it works on the run in ``folder``.

    That it holds the run is not enough: it may yet find that it must not go on. Its output goes to launch.log. Raises
    RunFailed when another process works on the run, or when the new one ends before it has begun, with the exit code
    that it had.
    """
    with locked(folder):
        pass
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
    while not has_begun(folder, process.pid):
        late = time.monotonic() > deadline
        if process.poll() == 0 or (late and is_locked(folder)):
            break  # there was nothing left to do; or its checks take long, such as a base that is fetched
        if late:
            process.kill()
            process.wait()
        if process.returncode is not None:
            last = tail(folder / LOG, 3)
            failed = RunFailed(f"the detached process did not begin: {' '.join(last) or 'no output'}")
            if process.returncode in (BadInput.exit_code, Unreadable.exit_code):
                failed.exit_code = process.returncode
            raise failed
        time.sleep(POLL)
    process.returncode = 0  # it is not ours any more: nothing is to wait for it, or warn that nobody did
    return process.pid
