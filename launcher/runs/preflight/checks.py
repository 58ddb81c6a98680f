"""What must hold before a run writes anything: trainer, card, memory, base model. Each failure says what to do."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launcher.catalog import Gpu, find_gpu, load_gpu
from launcher.catalog.local import snapshot_in_cache
from launcher.errors import Problem, RunFailed, Unreadable
from launcher.planning.plan import Plan
from launcher.preparing.prepared import Prepared
from launcher.records.codec import fields_of
from launcher.records.environment import Environment
from launcher.records.jobs import FETCH, PROBE, FetchRequest, ProbeRequest
from launcher.runs.preflight.base_model import base_problems, reach_problems
from launcher.runs.preflight.gpu import check_card, no_device
from launcher.runs.preflight.machine import place_problems
from launcher.trainers import all_trainers, get_trainer, installed_trainers
from launcher.trainers.tracking import TRACKERS
from launcher.trainers.workers import call_worker

GIB = 2**30
# transformers 5.16 passes bucket_id, which came with 0.21; an older one that a trainer pins does not do.
OLDEST_TRACKIO = (0, 21)
NEEDED = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate")


def examine(python: str, backend: str | None = None) -> Environment:
    """What the trainer's python has: versions, CUDA devices, host memory and disk, in GiB.

    Raises RunFailed when that python cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="ql-probe-") as folder:
        requires = list(get_trainer(backend).requires) if backend else []
        request = ProbeRequest(requires=requires, trainers=[trainer.distribution for trainer in all_trainers()])
        found = call_worker(python, PROBE, request, Path(folder) / "probe.log")
    missing = [trainer for trainer in all_trainers() if not found.versions.get(trainer.distribution)]
    return Environment(
        **fields_of(found),
        trainers=installed_trainers(found.versions),
        host_memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 2),
        disk_free_gib=round(shutil.disk_usage(Path.cwd()).free / GIB, 2),
        advice=[f"{trainer.name} is missing: {trainer.install_hint}" for trainer in missing],
    )


def card_here(python: str) -> Gpu:
    """The card of this machine as the trainer's python sees it. Raises Unreadable for one that is not known."""
    devices = examine(python).devices
    found = find_gpu(devices[0].name) if devices else load_gpu("cpu")
    if found is None:
        raise Unreadable(f"the card of this machine, {devices[0].name}, is not in the catalog", hint="--gpu NAME")
    return found


def check_start(prepared: Prepared, facts: Environment, folder: Path, *, merge: bool) -> tuple[float | None, list[str]]:
    """All that must hold before a run writes anything; what `check_environment` returns.

    Raises RunFailed with everything that does not hold, each with its fix.
    """
    problems: list[Problem] = []
    found: tuple[float | None, list[str]] = None, []
    try:
        found = check_environment(prepared.plan, prepared.gpu, prepared.memory.needed_gib, facts)
    except RunFailed as error:
        problems += error.problems
    base = prepared.plan.base_model
    if Path(base).is_dir():
        problems += base_problems(Path(base))
    else:
        problems += reach_problems(base, prepared.request.model)
    download = not Path(base).is_dir() and snapshot_in_cache(base) is None
    problems += place_problems(prepared, folder, download=download, merge=merge)
    if problems:
        raise RunFailed(problems)
    return found


def check_environment(plan: Plan, gpu: Gpu, needed_gib: float, facts: Environment) -> tuple[float | None, list[str]]:
    """Whether the planned run can start here: ``(fraction, notes)``.

    ``fraction`` caps the trainer's share of the card's memory where the card is larger than the planned one, else None.
    Raises RunFailed with everything that is missing.
    """
    problems = []
    trainer = get_trainer(plan.backend)
    install = trainer.install_hint
    if not facts.versions.get(trainer.distribution):
        problems.append(Problem(f"{trainer.name} is not installed in {facts.executable}", hint=install))
    problems += [Problem(text, hint=install) for text in facts.unsupported]
    missing = [name for name in NEEDED if not facts.versions.get(name)]
    if missing and not problems:
        problems.append(Problem(f"missing in {facts.executable}: {', '.join(missing)}", hint=install))
    if gpu.kind == "cpu":
        if problems:
            raise RunFailed(problems)
        return None, []
    fraction: float | None = None
    notes: list[str] = []
    if not facts.devices:
        problems.append(no_device(gpu, facts))
    else:
        fraction, notes, card_problems = check_card(gpu, plan, needed_gib, facts)
        problems += card_problems
    if problems:
        raise RunFailed(problems)
    return fraction, notes


def check_trackers(names: Sequence[str], facts: Environment) -> None:
    """Raises RunFailed naming each tracker that the trainer's python lacks, or has in a version that cannot work."""
    problems = []
    for name in names:
        version = facts.versions.get(TRACKERS[name])
        if not version:
            message = f"{name} is not installed in {facts.executable}"
            problems.append(Problem(message, hint=f"pip install {TRACKERS[name]}"))
        elif name == "trackio" and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TRACKIO:
            message = f"trackio {version} in {facts.executable} is older than transformers' integration needs"
            problems.append(Problem(message, hint="pip install --no-deps trackio==0.21.2"))
    if problems:
        raise RunFailed(problems)


def fetch_base(python: str, base_model: str, log: Path) -> str:
    """The folder of a base model: itself, or the hub's snapshot, downloaded when it is not in the cache.

    Raises RunFailed when the hub cannot be reached or does not let us in.
    """
    if Path(base_model).is_dir():
        return base_model
    return call_worker(python, FETCH, FetchRequest(base_model=base_model), log).path
