"""Shards on disk: written beside their final name, synced, renamed, and entered in a ledger, in this order.

Everything goes into a staging folder next to the output and takes the output's name when it is complete. A merge that
was killed finds its staging folder again: shards in the ledger are kept when their bytes still have the recorded
sha256, the others are made anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import Problem, RunFailed
from launcher.files import sha256_file, sync_folder, write_json
from launcher.jobs.merge.outline import Output
from launcher.jobs.merge.tensors import shard_header

LEDGER = "merge-progress.json"
WRITEBACK = 32 << 20
"""Bytes after which the kernel is told to start writing to the disk, so that the final sync has little left to do."""


@dataclass(frozen=True)
class ShardPlan:
    """One safetensors file of the merged model: its name, and its tensors in their order."""

    file: str
    outputs: tuple[Output, ...]

    @property
    def header(self) -> bytes:
        """What stands before the tensors: a length and JSON, as the safetensors format has it."""
        return shard_header([(output.name, output.dtype, output.shape) for output in self.outputs])

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + sum(output.nbytes for output in self.outputs)


def split(outputs: list[Output], limit: int) -> list[ShardPlan]:
    """Outputs in their order, in files of at most ``limit`` bytes; a tensor larger than that has its own file."""
    groups: list[list[Output]] = [[]]
    size = 0
    for output in outputs:
        if groups[-1] and size + output.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(output)
        size += output.nbytes
    total = len(groups)
    return [ShardPlan(f"model-{n:05d}-of-{total:05d}.safetensors", tuple(group)) for n, group in enumerate(groups, 1)]


class Staging:
    """The staging folder of one output, and the ledger of what in it is finished."""

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.out = out
        self.path = out.parent / f".{out.name}.merging"
        self.fingerprint = fingerprint
        self.done: dict[str, dict[str, Any]] = {}

    def open(self) -> list[str]:
        """Make the folder, or take up one that an interrupted merge of the same inputs left; returns what is kept."""
        ledger = self.path / LEDGER
        try:
            found = json.loads(ledger.read_text(encoding="utf-8"))
            usable = found["fingerprint"] == self.fingerprint
        except (OSError, ValueError, KeyError, TypeError):
            found, usable = {}, False
        if not usable:
            shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)
        entries = found.get("shards", []) if usable else []
        with ThreadPoolExecutor() as pool:
            intact = pool.map(self.is_intact, entries)
            self.done = {entry["file"]: entry for entry, fine in zip(entries, intact, strict=True) if fine}
        keep = {LEDGER, *self.done}
        for path in self.path.iterdir():
            if path.name not in keep:
                path.unlink()
        self.save()
        return list(self.done)

    def is_intact(self, entry: dict[str, Any]) -> bool:
        shard = self.path / entry["file"]
        return shard.is_file() and bool(sha256_file(shard) == entry["sha256"])

    def save(self) -> None:
        write_json(self.path / LEDGER, {"fingerprint": self.fingerprint, "shards": list(self.done.values())})

    def enter(self, shard: ShardPlan, sha256: str, figures: dict[str, object]) -> None:
        """Write a finished shard into the ledger."""
        self.done[shard.file] = {"file": shard.file, "bytes": shard.nbytes, "sha256": sha256, "figures": figures}
        self.save()

    def discard(self) -> None:
        """Remove the folder, where nothing in it is worth keeping."""
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self) -> None:
        """Give the complete folder its final name. An empty folder of that name is replaced."""
        (self.path / LEDGER).unlink()
        for path in self.path.iterdir():
            if not path.name.endswith(".safetensors"):  # shards were synced when they were written
                sync_file(path)
        sync_folder(self.path)
        self.path.replace(self.out)
        sync_folder(self.out.parent)


class ShardWriter:
    """Writes one shard, front to back, and hashes it. ``hash`` and ``write`` may be called from two threads."""

    def __init__(self, folder: Path, shard: ShardPlan) -> None:
        self.folder, self.shard = folder, shard
        self.temporary = folder / f".{shard.file}.tmp"
        self.digest = hashlib.sha256()
        self.written = 0
        self.flushed = 0
        self.broken: RunFailed | None = None
        self.descriptor = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def hash(self, data: memoryview) -> None:
        self.digest.update(data)

    def write(self, data: memoryview, what: str) -> None:
        """Write the next bytes. Raises RunFailed, naming ``what``, when the disk is full or fails; then for good."""
        if self.broken is not None:
            raise self.broken
        try:
            while len(data):
                count = os.write(self.descriptor, data)
                data = data[count:]
                self.written += count
            if self.written - self.flushed >= WRITEBACK:
                os.posix_fadvise(
                    self.descriptor, self.flushed, self.written - self.flushed, os.POSIX_FADV_DONTNEED
                )  # starts writing the range to disk, and does not wait
                self.flushed = self.written
        except OSError as error:
            self.broken = self.failed(error, what)
            raise self.broken from None

    def failed(self, error: OSError, what: str) -> RunFailed:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror
        hint = "shards that are complete are kept: free some space and run the same merge again" if full else None
        return RunFailed(Problem(f"{reason} while writing {what} to {self.shard.file}", str(self.folder), hint=hint))

    def finish(self) -> str:
        """Sync, rename, sync the folder; returns the sha256 of the file."""
        assert self.written == self.shard.nbytes
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise self.failed(error, "the end") from None
        os.close(self.descriptor)
        self.descriptor = -1
        self.temporary.replace(self.folder / self.shard.file)
        sync_folder(self.folder)
        return self.digest.hexdigest()

    def abandon(self) -> None:
        """Remove what was begun."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Make the contents of a file survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_space(folder: Path, needed: int, kept: int) -> None:
    """Raises RunFailed when the file system of ``folder`` cannot take what is still to be written."""
    free = shutil.disk_usage(folder).free
    if free < needed - kept:
        gib = 1 << 30
        message = f"the merge needs {(needed - kept) / gib:.2f} GiB and {folder} has {free / gib:.2f} GiB free"
        raise RunFailed(message, hint="free some space, or choose another place with --out")
