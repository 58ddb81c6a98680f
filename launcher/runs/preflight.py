"""What must hold before a run writes anything: trainer, card, memory, base model. Each failure says what to do."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.backends.tracking import TRACKERS
from launcher.backends.workers import call_worker
from launcher.catalog import Gpu
from launcher.errors import Problem, RunFailed
from launcher.planning.plan import Plan
from launcher.runs.prepare import Prepared

GIB = 2**30
INSTALL = {
    name: f"pip install 'ql[{name}]', or name the python that has it with --trainer-python"
    for name in ("axolotl", "unsloth")
}
# transformers 5.16 passes bucket_id, which came with 0.21; Axolotl 0.19 pins 0.19.
OLDEST_TRACKIO = (0, 21)
NEEDED = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate")


def examine(python: str, backend: str | None = None) -> dict[str, Any]:
    """What the trainer's python has: versions, CUDA devices, host memory and disk, in GiB.

    Raises RunFailed when that python cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="ql-probe-") as folder:
        facts = call_worker(python, "probe", {}, Path(folder) / "probe.log")
    versions = facts["versions"]
    facts["trainers"] = [name for name in INSTALL if versions.get(name)]
    facts["host_memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 2)
    facts["disk_free_gib"] = round(shutil.disk_usage(Path.cwd()).free / GIB, 2)
    facts["advice"] = [f"{name} is missing: {how}" for name, how in INSTALL.items() if not versions.get(name)]
    return facts


def check_start(
    prepared: Prepared, facts: Mapping[str, Any], folder: Path, *, merge: bool
) -> tuple[float | None, list[str]]:
    """All that must hold before a run writes anything; what `check_environment` returns."""
    found = check_environment(prepared.plan, prepared.gpu, prepared.memory.needed_gib, facts)
    check_base(prepared.plan.base_model)
    check_disk(prepared, folder, merge=merge)
    return found


def check_environment(
    plan: Plan, gpu: Gpu, needed_gib: float, facts: Mapping[str, Any]
) -> tuple[float | None, list[str]]:
    """Whether the planned run can start here: ``(fraction, notes)``.

    ``fraction`` caps the trainer's share of the card's memory where the card is larger than the planned one, else None.
    Raises RunFailed with everything that is missing.
    """
    problems = []
    if not facts["versions"].get(plan.backend):
        problems.append(
            Problem(f"{plan.backend} is not installed in {facts['executable']}", hint=INSTALL[plan.backend])
        )
    missing = [name for name in NEEDED if not facts["versions"].get(name)]
    if missing and not problems:
        problems.append(Problem(f"missing in {facts['executable']}: {', '.join(missing)}", hint=INSTALL[plan.backend]))
    if gpu.kind == "cpu":
        if problems:
            raise RunFailed(problems)
        return None, []
    fraction: float | None = None
    notes: list[str] = []
    if not facts["devices"]:
        hint = "--dry-run plans without a card; the preset cpu-tiny trains without one"
        problems.append(Problem(f"this run is planned for {gpu.title}, and torch finds no CUDA device here", hint=hint))
    else:
        device = facts["devices"][0]
        fraction, notes, card_problems = _check_card(gpu, needed_gib, device, plan.compute_dtype)
        problems += card_problems
    if problems:
        raise RunFailed(problems)
    return fraction, notes


def _check_card(
    gpu: Gpu, needed_gib: float, device: Mapping[str, Any], compute_dtype: str
) -> tuple[float | None, list[str], list[Problem]]:
    name, total, free = device["name"], device["total_gib"], device["free_gib"]
    capability = float(device["compute_capability"])
    problems = []
    if compute_dtype == "bfloat16" and capability < 8.0:
        problems.append(Problem(f"{name} has no bfloat16", hint="--compute-dtype float16"))
    if needed_gib > total:
        problems.append(
            Problem(
                f"the run needs {needed_gib:.1f} GiB and {name} has {total:.1f} GiB",
                hint=f"this plan is for {gpu.title}: choose a preset for your card (`ql presets`)",
            )
        )
    elif needed_gib > free:
        problems.append(
            Problem(
                f"the run needs {needed_gib:.1f} GiB, and of {name}'s {total:.1f} GiB only {free:.1f} GiB are free",
                hint="nvidia-smi shows which process holds the rest",
            )
        )
    notes = [] if gpu.matches(name) else [f"planned for {gpu.title}, running on {name}"]
    if total <= gpu.usable_gib * 1.02:
        return None, notes, problems
    # A larger card stands in for the planned one: hold the trainer to the plan, so that the run proves it.
    notes.append(f"the trainer is capped at {gpu.usable_gib:.1f} GiB of {total:.1f} GiB; --no-cap lifts that")
    return round(gpu.usable_gib / total, 4), notes, problems


def check_trackers(names: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Raises RunFailed naming each tracker that the trainer's python lacks, or has in a version that cannot work."""
    problems = []
    for name in names:
        version = facts["versions"].get(TRACKERS[name])
        if not version:
            message = f"{name} is not installed in {facts['executable']}"
            problems.append(Problem(message, hint=f"pip install {TRACKERS[name]}"))
        elif name == "trackio" and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TRACKIO:
            message = f"trackio {version} in {facts['executable']} is older than transformers' integration needs"
            problems.append(Problem(message, hint="pip install --no-deps trackio==0.21.2"))
    if problems:
        raise RunFailed(problems)


def check_disk(prepared: Prepared, folder: Path, *, merge: bool) -> None:
    """Raises RunFailed when the disk of ``folder`` cannot hold what the run writes.

    That is merged/ at 2 bytes a weight, and up to three checkpoints at once (the best, the last, and the one being
    written) of fp32 weights (4 bytes) and two moments of up to 4 bytes.
    """
    from launcher.catalog.architecture import lora_parameters

    model, plan = prepared.request.model, prepared.plan
    adapter = lora_parameters(model, plan.lora_r, plan.lora_target_modules)
    needed = (3 * 12 * adapter + (2 * model.parameters if merge else 0)) / GIB
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free / GIB
    if free < needed:
        hint = "--runs-dir puts runs on another disk; --no-merge writes the adapter alone"
        raise RunFailed(f"the run writes {needed:.1f} GiB and {existing} has {free:.1f} GiB free", hint=hint)


def check_base(base_model: str) -> None:
    """A base given as a folder must be complete: every shard of its index there.

    Raises RunFailed naming each missing file. Hub names are looked up by the trainer's python (see `fetch_base`).
    """
    folder = Path(base_model)
    if not folder.is_dir():
        return
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunFailed(Problem("not an index of safetensors shards", file=str(index))) from None
    else:
        shards = ["model.safetensors"]
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        hint = "pickled weights are not read: convert them to safetensors" if pickled else "download the model again"
        raise RunFailed([Problem(f"{folder} has no {name}", hint=hint) for name in missing])


def fetch_base(python: str, base_model: str, log: Path) -> str:
    """The folder of a base model: itself, or the hub's snapshot, downloaded when it is not in the cache.

    Raises RunFailed when the hub cannot be reached or does not let us in.
    """
    if Path(base_model).is_dir():
        return base_model
    path: str = call_worker(python, "fetch", {"base_model": base_model}, log)["path"]
    return path
