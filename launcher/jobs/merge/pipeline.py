"""What happens to computed blocks while the next ones are computed: hashing, writing, and closing of shards.

Each of the three has one thread, which takes its work in order. So a shard is synced, renamed and entered in the ledger
before the next one is, as if one thread did it all, and nothing waits for anything but the slowest of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import torch

from launcher.jobs.merge.writer import ShardPlan, ShardWriter, Staging

CLOSING = 2
"""Shards that may wait for the disk at the same time; so much is lost, at most, when the merge is killed."""


class Stages:
    """Seconds that each stage was at work, over all of its threads: shows which one the others waited for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - begin
            with self.lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        return {stage: round(seconds, 2) for stage, seconds in sorted(self.seconds.items())}


class Disk:
    """Takes the bytes of one shard after another. At most ``limit`` bytes wait to be hashed and written."""

    def __init__(self, staging: Staging, limit: int, stages: Stages) -> None:
        self.staging, self.limit, self.stages = staging, limit, stages
        self.hasher, self.writer, self.closer = (
            ThreadPoolExecutor(1, f"ql-{name}") for name in ("hash", "write", "close")
        )
        self.file: ShardWriter | None = None
        self.waiting: deque[tuple[int, Future[None], Future[None], Callable[[], None]]] = deque()
        self.bytes = 0
        self.closing: deque[Future[None]] = deque()

    def begin(self, shard: ShardPlan) -> None:
        self.file = ShardWriter(self.staging.path, shard)
        self.append(memoryview(shard.header), "its header", lambda: None)

    def append(self, data: memoryview | torch.Tensor, what: str, done: Callable[[], None]) -> None:
        """Hand over the next bytes of the shard; ``done`` is called from this thread once they are written.

        Raises what went wrong with bytes that were handed over before.
        """
        assert self.file is not None
        view = memoryview(data.view(torch.uint8).numpy()) if isinstance(data, torch.Tensor) else data
        hashed = self.hasher.submit(self.timed, "hash", self.file.hash, view)
        written = self.writer.submit(self.timed, "write", self.file.write, view, what)
        self.waiting.append((len(view), hashed, written, done))
        self.bytes += len(view)
        self.drain(self.limit)

    def drain(self, limit: int) -> None:
        """Wait until no more than ``limit`` bytes are on their way."""
        while self.bytes > limit:
            size, hashed, written, done = self.waiting.popleft()
            written.result()
            hashed.result()
            self.bytes -= size
            done()

    def finish(self, figures: dict[str, object]) -> None:
        """The shard has all its bytes: let it be synced, renamed and entered in the ledger."""
        self.drain(0)
        assert self.file is not None
        self.closing.append(self.closer.submit(self.timed, "sync", self.close_shard, self.file, figures))
        self.file = None
        while len(self.closing) > CLOSING:
            self.closing.popleft().result()

    def close_shard(self, file: ShardWriter, figures: dict[str, object]) -> None:
        try:
            sha256 = file.finish()
        finally:
            file.abandon()
        self.staging.enter(file.shard, sha256, figures)

    def timed(self, stage: str, function: Callable[..., None], *arguments: Any) -> None:
        with self.stages.timed(stage):
            function(*arguments)

    def join(self) -> None:
        """Wait until every finished shard is in the ledger."""
        while self.closing:
            self.closing.popleft().result()

    def close(self) -> None:
        """Stop. Shards that have all their bytes are still entered; of one that has not, nothing stays."""
        for pool in (self.hasher, self.writer):
            pool.shutdown(wait=True, cancel_futures=True)
        wait(self.closing)
        self.closer.shutdown(wait=True)
        if self.file is not None:
            self.file.abandon()
