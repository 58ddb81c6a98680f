"""`ql calibrate` of every named preset of the card that is here, on that very card; written as JSON.

    python benchmarks/presets/calibrate.py --out calibrate.json --seconds 500

Nothing stands for another card here: each preset's planned shape runs with its real trainer, and the JSON holds what
was predicted, what was measured, and `ql estimate` before and after the calibration. Bases have random weights, stored
in 4 bit. It needs the card to itself; benchmarks/on_gpu.py runs it. A case takes about a minute on an H100.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from launcher.catalog import find_gpu, list_presets, load_preset  # noqa: E402

# What a card's presets are calibrated for, what says most first; "-unsloth" is the preset with that trainer.
ORDER = ("7b", "7b-unsloth", "70b", "32b", "13b", "14b", "8b", "13b-unsloth", "8b-unsloth", "14b-unsloth")
LEAST_SECONDS = 45.0  # with less time left no case is begun
LARGE_GIB, SPARE_GIB = 20.0, 8.0  # a checkpoint that memory is used for; what is left free where one is written
UNSLOTH = "-unsloth"
KEPT = ("backend", "micro_batch_size", "sequence_len", "gradient_checkpointing", "kernels", "vram", "throughput")


def card() -> str:
    """The catalog's name of this machine's first card; "cpu" where nvidia-smi names none."""
    argv = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        named = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "cpu"
    found = find_gpu(named[0]) if named else None
    if found is None:
        sys.exit(f"{named} is no card of the catalog")
    return found.name


def cases(gpu: str) -> list[tuple[str, str]]:
    """(preset, trainer) in the order of what they say; "" is the preset's own trainer."""
    presets = [name for name in list_presets() if load_preset(name).gpu == gpu]
    found = []
    for ending in ORDER:
        preset = f"{gpu}-{ending.removesuffix(UNSLOTH)}"
        if preset in presets:
            found.append((preset, "unsloth" if ending.endswith(UNSLOTH) else ""))
    return found or [(name, "") for name in presets]


# --- bases ---


def write_base(model: str, folder: str) -> None:
    from benchmarks.random_checkpoint import write_checkpoint

    Path(folder).mkdir(parents=True)
    write_checkpoint(model, Path(folder), quantized=True)


def write_bases(models: list[str], scratch: Path) -> dict[str, Path]:
    """A base of each model, all written at the same time; large ones in memory, where it has the room."""
    from benchmarks.random_checkpoint import find_model

    memory = Path("/dev/shm")
    room = shutil.disk_usage(memory).free / 2**30 - SPARE_GIB if memory.is_dir() else 0.0
    places: dict[str, Path] = {}
    for model in models:
        gib = find_model(model).parameters * 0.55 / 2**30
        inside = LARGE_GIB < gib < room
        room -= gib if inside else 0.0
        places[model] = (Path(tempfile.mkdtemp(dir=memory, prefix="bases-")) if inside else scratch) / model
    with ProcessPoolExecutor(6) as pool:
        for done in [pool.submit(write_base, model, str(place)) for model, place in places.items()]:
            done.result()
    return places


# --- cases ---


def calibrate(preset: str, backend: str, base: Path, scratch: Path, limit: float) -> dict[str, Any]:
    """`ql estimate`, `ql calibrate`, `ql estimate` again, with a file of corrections of its own."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    corrections = scratch / "corrections.json"
    corrections.unlink(missing_ok=True)
    environment = {**os.environ, "QL_CALIBRATION": str(corrections), "PYTHONPATH": paths}
    named = ["--preset", preset, "--model", str(base), *(["--backend", backend] if backend else [])]
    if preset != "cpu-tiny":
        named += ["--set", "chat_template=inst"]
    found: dict[str, Any] = {"preset": preset, "alone": True}
    for step, verb in (("before", "estimate"), ("calibration", "calibrate"), ("after", "estimate")):
        began = time.monotonic()
        argv = [sys.executable, "-m", "launcher", verb, *named, "--json"]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=limit
            )
        except subprocess.TimeoutExpired as error:
            found[step] = {"error": f"not done after {error.timeout:.0f} s"}
            break
        found[step] = {"seconds": round(time.monotonic() - began, 2), "exit_code": done.returncode}
        try:
            facts = json.loads(done.stdout)
            found[step]["facts"] = facts if step == "calibration" else {key: facts.get(key) for key in KEPT}
        except ValueError:
            found[step]["said"] = done.stderr.splitlines()[-20:]
    return found


def versions() -> dict[str, str]:
    found = {}
    for name in ("axolotl", "unsloth", "torch", "transformers", "trl", "peft", "bitsandbytes", "liger-kernel"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def run(options: argparse.Namespace, scratch: Path) -> None:
    deadline = time.monotonic() + options.seconds
    gpu = options.gpu or card()
    wanted = [case for case in cases(gpu) if options.only in case[0]]
    if options.base:
        places = {load_preset(preset).model: options.base for preset, _ in wanted}
    else:
        places = write_bases(list(dict.fromkeys(load_preset(preset).model for preset, _ in wanted)), scratch)
    result: dict[str, Any] = {"gpu": gpu, "versions": versions(), "cases": []}
    try:
        for preset, backend in wanted:
            left = deadline - time.monotonic()
            if left < LEAST_SECONDS:
                break
            base = places[load_preset(preset).model]
            case = calibrate(preset, backend, base, scratch, min(options.limit, left - 2))
            result["cases"].append(case)
            text = json.dumps(result, indent=1).replace(str(base), "BASE").replace(str(scratch), "SCRATCH")
            beside = options.out.with_suffix(".new")
            beside.write_text(text.replace(str(ROOT), "ROOT") + "\n", encoding="utf-8")
            beside.replace(options.out)
            codes = {step: facts.get("exit_code") for step, facts in case.items() if isinstance(facts, dict)}
            print(preset, backend, codes, flush=True)
    finally:
        for place in places.values():
            if options.base is None and scratch not in place.parents:
                shutil.rmtree(place.parent, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", help="card of the catalog that this machine has; by itself the one that it finds")
    parser.add_argument("--only", default="", help="presets whose name holds this")
    parser.add_argument("--seconds", type=float, default=500.0, help="for everything")
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for each command")
    parser.add_argument("--base", type=Path, help="a base that is there already, instead of random ones")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ql-") as scratch:  # "tmpt…" would be an MPT model to Axolotl
        run(options, Path(scratch))


if __name__ == "__main__":
    main()
