"""The machine around the card: disk, host memory, and whether the run can be written where it is to go."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from launcher.catalog.local import data_cache, hub_cache
from launcher.errors import Problem, Unreadable
from launcher.files import require_text
from launcher.planning.estimate import memory_request
from launcher.preparing.prepared import Prepared
from launcher.sizing import disk_space, merge_host_memory
from launcher.trainers import all_trainers, get_trainer

GIB = 2**30


def place_problems(prepared: Prepared, folder: Path, *, download: bool, merge: bool) -> list[Problem]:
    """What would stop the run on this machine: all of it. ``folder`` is where runs go."""
    problems = []
    existing = _existing(folder)
    needed = disk_space(memory_request(prepared.plan.to_dict(), prepared.request), download=False, merge=merge)
    free = shutil.disk_usage(existing).free / GIB
    if free < needed.total_gib:
        parts = f"checkpoints {needed.checkpoints_gib:.1f}, adapter {needed.adapter_gib:.1f}"
        parts += f", merged model {needed.merged_gib:.1f}" if merge else ""
        hint = "--runs-dir puts runs on another disk; --no-merge writes the adapter alone"
        message = f"the run writes {needed.total_gib:.1f} GiB ({parts}) and {existing} has {free:.1f} GiB free"
        problems.append(Problem(message, hint=hint))
    if download:
        base = disk_space(memory_request(prepared.plan.to_dict(), prepared.request), download=True).base_gib
        cache = _existing(hub_cache().absolute())
        free = shutil.disk_usage(cache).free / GIB
        if free < base:
            message = f"the base model is a download of {base:.1f} GiB and {cache} has {free:.1f} GiB free"
            problems.append(Problem(message, hint="HF_HOME puts the cache on another disk"))
    if merge:
        wanted, there = merge_host_memory(prepared.request.model), available_memory() / GIB
        if wanted > there:
            message = f"the merge needs {wanted:.1f} GiB of host memory and {there:.1f} GiB are available"
            problems.append(Problem(message, hint="--no-merge now, `ql merge RUN` on a larger machine later"))
    trainer = get_trainer(prepared.plan.backend)
    fault = trainer.folder_fault(str(folder.absolute()))
    if fault:
        able = [one.name for one in all_trainers() if not one.folder_fault(str(folder.absolute()))]
        others = "".join(f"; --backend {name} can read it there" for name in able)
        hint = f"--runs-dir or --out names another place{others}"
        problems.append(Problem(f"{fault}: {folder.absolute()}", hint=hint))
    if trainer.needs_semaphores:
        problems += semaphore_problems(trainer.title)
    return problems + cache_problems()


def semaphore_problems(title: str, make: Callable[[], object] = multiprocessing.Lock) -> list[Problem]:
    """Why several processes cannot work together here; ``make`` makes a lock between them."""
    try:
        make()
    except (OSError, ImportError) as error:
        said = f"{title} prepares rows in processes that need shared memory, and there is none here: {error}"
        able = [one.name for one in all_trainers() if not one.needs_semaphores]
        others = "".join(f"; --backend {name} needs none" for name in able)
        hint = f"mount a tmpfs that can be written at /dev/shm (docker: --shm-size 1g){others}"
        return [Problem(said, hint=hint)]
    return []


def cache_problems() -> list[Problem]:
    """Why the trainer could not keep its prepared rows: it would end, half a minute later, with a traceback."""
    cache = data_cache()
    if cache.parts[0] == "~":
        said = "there is no home folder here, and the trainer's libraries keep their caches in it"
        return [Problem(said, hint="set HOME to a folder that can be written")]
    there = _existing(cache.absolute())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    hint = "HF_HOME puts the Hugging Face caches elsewhere, HF_DATASETS_CACHE this one alone"
    return [Problem(f"the trainer keeps prepared rows in {cache}, which cannot be written", hint=hint)]


def require_writable(folder: Path) -> None:
    """Raises Unreadable when nothing can be written where runs are to go."""
    require_text(folder.absolute())
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            pass
    except OSError as error:
        hint = "--runs-dir or --out names another place"
        raise Unreadable(f"cannot write runs to {folder}: {error.strerror}", hint=hint) from None


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest of those above it that exists."""
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that a process can still get: what the kernel says, or what a container's limit leaves.

    https://docs.kernel.org/filesystems/proc.html (MemAvailable), https://docs.kernel.org/admin-guide/cgroup-v2.html.
    Where neither can be read, all of the machine's memory.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        available = int(dict(line.split(":", 1) for line in lines)["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = root / "sys/fs/cgroup"
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            available = min(available, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: there is no other limit that can be read
    return max(available, 0)
