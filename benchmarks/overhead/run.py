"""What a micro-batch of short rows costs beyond its arithmetic, and what shortens it, one trainer at a time on one GPU.

python benchmarks/overhead/run.py --out OUT --seconds 540
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

SHAPES = ((16, 64), (16, 128), (16, 256), (8, 512), (1, 2048))  # rows, tokens of the longest
STEPS = 10
BASE: dict[str, Any] = {
    "model": "mistral-7b", "method": "qlora", "compute_dtype": "bfloat16", "activation_offload": False, "seed": 1,
    "checkpoint": "nf4", "gradient_checkpointing": False, "kernels": [],
}  # fmt: skip


def jobs() -> list[dict[str, Any]]:
    """Axolotl with and without its LoRA kernels; Unsloth with rows laid end to end, as by itself, and padded."""
    shapes = [
        {"sequence_len": length, "micro_batch_size": rows, "rows": "ragged", "steps": STEPS, "eval_rows": 0}
        for rows, length in SHAPES
    ]
    found: list[dict[str, Any]] = [
        {"id": "axolotl", "trainer": "axolotl", "kernels": ["lora", "liger"]},
        {"id": "unsloth-free", "trainer": "unsloth", "environment": {"UNSLOTH_PADDING_CHOICE": "padding_free"}},
        {"id": "unsloth-padded", "trainer": "unsloth", "environment": {"UNSLOTH_PADDING_CHOICE": "padded"}},
        {"id": "axolotl-plain", "trainer": "axolotl", "kernels": ["liger"]},
    ]
    return [{**BASE, "shapes": shapes, **job} for job in found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540.0)
    options = parser.parse_args()
    end = time.time() + options.seconds
    scratch = Path("/dev/shm/overhead" if Path("/dev/shm").is_dir() else "/tmp/overhead")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "model").mkdir(parents=True)
    options.out.mkdir(parents=True, exist_ok=True)
    from benchmarks import random_checkpoint

    random_checkpoint.write_checkpoint("mistral-7b", scratch / "model", quantized=True)
    for job in jobs():
        file = scratch / f"{job['id']}.json"
        file.write_text(json.dumps({**job, "folder": str(scratch / "model")}), encoding="utf-8")
        environment = {
            **os.environ, **job.get("environment", {}), "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }  # fmt: skip
        argv = [sys.executable, str(HERE / "probe.py"), str(file), str(options.out / "results.jsonl")]
        began = time.time()
        with (options.out / f"{job['id']}.log").open("w", encoding="utf-8") as log:
            try:
                subprocess.run(
                    argv, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=scratch, check=False,
                    timeout=max(1.0, end - time.time()),
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                print(f"{job['id']}: out of time", flush=True)
        print(f"{job['id']}: {time.time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
