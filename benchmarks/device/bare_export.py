"""Run exported presets under the bare trainers on a GPU, where ql cannot be imported; write what happened as JSON.

    python benchmarks/device/bare_export.py --presets a10g-7b,h100-7b --steps 3 --out results.json

Each preset is exported for both trainers by `ql export`, with the random checkpoint as its model and a few steps as the
only changes, and each folder is trained in a process of its own, all of them at the same time. Nothing is added to
config or script; the process only looks at the Trainer: which dtype it computed in, what it quantised, its losses.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # of this process alone, which makes the base
from benchmarks.random_checkpoint import write_checkpoint, write_rows  # noqa: E402

BACKENDS = ("axolotl", "unsloth")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
# What the trainer's process runs: its own entry point, with a Trainer that writes down what it used.
WATCHED = """
import json, runpy, sys
sys.modules["launcher"] = None
backend = sys.argv.pop(1)
if backend == "unsloth":
    import unsloth
import torch, transformers

train = transformers.Trainer.train

def watched(self, *arguments, **options):
    seen = {}

    def look(module, inputs, named):
        hidden = next((value for value in [*inputs, *named.values()] if isinstance(value, torch.Tensor)), None)
        if module.training and hidden is not None and not seen:
            on = torch.is_autocast_enabled(hidden.device.type)
            seen["hidden_states"] = str(hidden.dtype)
            seen["autocast"] = str(torch.get_autocast_dtype(hidden.device.type)) if on else None

    layer = next(module for name, module in self.model.named_modules() if name.endswith("layers.0"))
    hook = layer.register_forward_pre_hook(look, with_kwargs=True)
    result = train(self, *arguments, **options)
    hook.remove()
    import bitsandbytes
    linears = [module for module in self.model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    scaler = getattr(self.accelerator, "scaler", None)
    cuda = torch.cuda.is_available()
    found = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "mixed_precision": self.accelerator.mixed_precision,
        "arguments": {"fp16": self.args.fp16, "bf16": self.args.bf16},
        "loss_scale": scaler.get_scale() if scaler is not None else None,
        "in_the_first_layer": seen,
        "quantised_linears": len(linears),
        "bnb_compute_dtype": sorted({str(module.compute_dtype) for module in linears}),
        "trained_weights_dtype": sorted({str(p.dtype) for p in self.model.parameters() if p.requires_grad}),
        "steps": self.state.global_step,
        "log": self.state.log_history,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if cuda else None,
        "allocated_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    }
    with open("observed.json", "w") as stream:
        json.dump(found, stream)
    return result

transformers.Trainer.train = watched
"""
ENTRY = {
    "axolotl": ("runpy.run_module('axolotl.cli.main', run_name='__main__')", "train config.yaml --launcher python"),
    "unsloth": ("runpy.run_path('train.py', run_name='__main__')", "config.yaml"),
}


def export(preset: str, backend: str, base: Path, data: Path, options: argparse.Namespace, folder: Path) -> Any:
    """The plan that `ql export` has written a folder for."""
    argv = [
        sys.executable, "-m", "launcher", "export", "--preset", preset, "--backend", backend, "--model", str(base),
        "--data", str(data), "--max-steps", str(options.steps), "--set", f"chat_template={options.template}",
        "-o", str(folder), "--json",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{preset} {backend}: {done.stderr}")
    return json.loads(done.stdout)["plan"]


def start(backend: str, folder: Path) -> subprocess.Popen[bytes]:
    entry, arguments = ENTRY[backend]
    argv = [sys.executable, "-P", "-c", WATCHED + entry, backend, *arguments.split()]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(argv, cwd=folder, env=os.environ | OFFLINE, stdout=log, stderr=log)


def result(preset: str, backend: str, plan: dict[str, Any], folder: Path, code: int, seconds: float) -> dict[str, Any]:
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {
        "preset": preset,
        "backend": backend,
        "exit_code": code,
        "seconds": round(seconds, 1),
        "planned_dtype": plan["compute_dtype"],
        "config": {key: config[key] for key in ("bf16", "fp16", "compute_dtype") if key in config},
        "micro_batch_size": plan["micro_batch_size"],
        "adapter_written": (folder / "trainer" / "adapter_model.safetensors").is_file(),
    }
    observed = folder / "observed.json"
    if observed.is_file():
        facts |= json.loads(observed.read_text())
        log = facts.pop("log")
        facts["losses"] = [entry["loss"] for entry in log if "loss" in entry]
        facts["eval_losses"] = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
        numbers = [float(x) for x in facts["losses"] + facts["eval_losses"]]
        facts["all_finite"] = bool(facts["losses"]) and all(math.isfinite(x) for x in numbers)
    if code or not observed.is_file():
        facts["output"] = (folder / "log").read_text(errors="replace").splitlines()[-40:]
    return facts


def wait(cases: dict[tuple[str, str], subprocess.Popen[bytes]], limit: float) -> dict[tuple[str, str], float]:
    """Seconds until each process ended; what runs past ``limit`` seconds is killed."""
    began = time.monotonic()
    ended: dict[tuple[str, str], float] = {}
    while len(ended) < len(cases):
        for key, process in cases.items():
            if key not in ended and process.poll() is not None:
                ended[key] = time.monotonic() - began
                print(*key, "ended with", process.returncode, "after", round(ended[key]), "s", flush=True)
        if time.monotonic() - began > limit:
            for process in cases.values():
                process.kill()
        time.sleep(0.2)
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default="a10g-7b,h100-7b")
    parser.add_argument("--model", default="mistral-7b", help="catalog model whose shape the random base has")
    parser.add_argument("--base", type=Path, help="a base that is there already, instead of a random one")
    parser.add_argument("--template", default="inst", help="chat template of the base")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--words", type=int, default=250)
    parser.add_argument("--limit", type=float, default=240, help="seconds that the trainers get")
    parser.add_argument("--scratch", type=Path, help="folder for the base and the exported folders")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    presets = options.presets.split(",")
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ql-", dir=options.scratch, ignore_cleanup_errors=True)
            )
        )
        data, base = scratch / "rows.jsonl", options.base and options.base.resolve()
        write_rows(data, options.rows, options.words)
        results: dict[str, Any] = {"model": options.model, "steps": options.steps}
        if base is None:
            base = scratch / "base"
            base.mkdir()
            began = time.monotonic()
            results["weights"] = write_checkpoint(options.model, base)
            results["checkpoint_seconds"] = round(time.monotonic() - began, 1)
            print("base written in", results["checkpoint_seconds"], "s", flush=True)
        folders = {(preset, backend): scratch / f"{preset}-{backend}" for preset in presets for backend in BACKENDS}
        plans = {key: export(*key, base, data, options, folder) for key, folder in folders.items()}
        processes = {key: start(key[1], folder) for key, folder in folders.items()}
        seconds = wait(processes, options.limit)
        results["cases"] = [
            result(*key, plans[key], folder, processes[key].returncode, seconds[key]) for key, folder in folders.items()
        ]
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    for case in results["cases"]:
        shown = ("preset", "backend", "exit_code", "planned_dtype", "mixed_precision", "losses", "all_finite")
        print({key: case.get(key) for key in shown}, flush=True)
    sys.exit(any(case["exit_code"] or not case.get("all_finite") for case in results["cases"]))


if __name__ == "__main__":
    main()
