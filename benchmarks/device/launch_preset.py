"""Run a named preset on a GPU, end to end, with a random checkpoint of the preset's model; write what happened as JSON.

    python benchmarks/device/launch_preset.py a10g-7b --steps 20 --out results.json

On a card larger than the preset's, `ql launch` caps the trainer at the preset's memory: that proves the memory and the
numerics, not that card's speed. Both trainers must be importable.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.random_checkpoint import write_checkpoint, write_rows

ROOT = Path(__file__).resolve().parent.parent.parent


def launch(preset: str, backend: str, base: Path, data: Path, steps: int, folder: Path) -> dict[str, Any]:
    argv = [
        sys.executable, "-m", "launcher", "launch", "--preset", preset, "--backend", backend, "--model", str(base),
        "--data", str(data), "--max-steps", str(steps), "--set", "chat_template=inst", "--out", str(folder), "--json",
    ]  # fmt: skip
    began = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    facts: dict[str, Any] = {"backend": backend, "exit_code": done.returncode, "seconds": time.monotonic() - began}
    facts["messages"] = done.stderr.splitlines()[-30:]
    log = folder / "train.log"
    if done.returncode and log.is_file():
        facts["log"] = log.read_text(errors="replace").splitlines()[-40:]
    manifest = folder / "run.json"
    if manifest.is_file():
        run = json.loads(manifest.read_text())
        keys = ("state", "plan", "estimate", "memory_fraction", "notes", "stages", "training", "merge")
        facts |= {key: run.get(key) for key in keys}
        facts["versions"] = run["environment"]["versions"]
        facts["devices"] = run["environment"]["devices"]
    events = folder / "events.jsonl"
    if events.is_file():
        facts["events"] = [json.loads(line) for line in events.read_text().splitlines()]
        losses = [event["loss"] for event in facts["events"] if event.get("event") == "log" and "loss" in event]
        facts["losses"] = losses
        facts["all_finite"] = bool(losses) and all(isinstance(x, float) and math.isfinite(x) for x in losses)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("preset")
    parser.add_argument("--model", default="mistral-7b", help="catalog model whose shape the base has")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--words", type=int, default=900)
    parser.add_argument("--backends", default="axolotl,unsloth")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ql-") as scratch:
        base, data = Path(scratch) / "base", Path(scratch) / "rows.jsonl"
        base.mkdir()
        began = time.monotonic()
        weights = write_checkpoint(options.model, base)
        write_rows(data, options.rows, options.words)
        results: dict[str, Any] = {
            "preset": options.preset,
            "model": options.model,
            "weights": weights,
            "checkpoint_seconds": round(time.monotonic() - began, 1),
            "runs": [],
        }
        for backend in options.backends.split(","):
            folder = Path(scratch) / backend
            results["runs"].append(launch(options.preset, backend, base, data, options.steps, folder))
            options.out.write_text(json.dumps(results, indent=1))
            run = results["runs"][-1]
            print(
                backend,
                run["exit_code"],
                run.get("state"),
                run.get("all_finite"),
                run.get("losses", [])[-3:],
                flush=True,
            )


if __name__ == "__main__":
    main()
