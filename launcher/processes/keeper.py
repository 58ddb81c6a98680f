"""The keeper: a small process that ends what a dead launcher leaves behind, and then itself.

Run as ``python -I -S keeper.py MARK`` with a pipe as its stdin, whose other end only the launcher holds. When the
launcher ends, however it ends, the kernel closes the pipe; the keeper then kills every process whose environment has
``MARK``. Processes inherit it whatever session or group they move to. Linux only: elsewhere nothing is found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

ROUNDS = 20  # a process may start another while it is looked for
PAUSE = 0.05  # seconds


def marked(mark: str) -> list[int]:
    """The living processes of ours whose environment has ``mark`` (``NAME=value``)."""
    wanted = mark.encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # not ours, or gone
            continue
        if wanted in variables and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def end_marked(mark: str) -> None:
    """SIGKILL to all of them, until none is left."""
    for _ in range(ROUNDS):
        found = marked(mark)
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    end_marked(sys.argv[1])


if __name__ == "__main__":
    main()
