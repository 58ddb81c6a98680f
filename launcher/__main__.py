"""Where ``ql`` begins, and ``python -m launcher``, which is the same."""

from __future__ import annotations

import os
import signal
import sys


def start() -> None:
    """Run the command line.

    While it loads, Ctrl-C ends the process as it ends any program, without a traceback of whatever was being imported.
    """
    open_closed_streams()
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so where it was started deaf to it
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from launcher.cli.main import main

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="ql")


def open_closed_streams() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed (``ql … >&-``).

    Else the next file to be opened would take its number, and what a library prints would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    start()
