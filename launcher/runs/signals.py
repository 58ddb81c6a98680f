"""Signals while a run goes: what stops it, in which way, and what does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = "stopping: the trainer is asked for a checkpoint"


@contextmanager
def stopped_by_signals(say: Callable[[str], None]) -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, SIGTERM SystemExit(143), SIGHUP is ignored: a closed terminal ends no run.

    Whoever runs a trainer answers the first by asking it for a checkpoint. A second SIGINT, raised while it waits,
    stops the run at once. A second SIGTERM is no news: schedulers send several, and what ends the waiting is the time
    they give. Outside of the main thread nothing is changed: Python sets handlers nowhere else.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def tell(text: str) -> None:
        with contextlib.suppress(Exception):  # the terminal may be gone, or in the midst of being written to
            say(text)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        tell(f"{STOPPING}; once more to stop now")
        raise KeyboardInterrupt

    terminated = False

    def terminate(_number: int, _frame: FrameType | None) -> None:
        nonlocal terminated
        if not terminated:
            terminated = True
            tell(STOPPING)
            raise SystemExit(143)

    handlers: dict[signal.Signals, Any] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: terminate,
        signal.SIGHUP: signal.SIG_IGN,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
