"""The measured jobs: which trainer, model and settings, and the shapes of batch that each runs.

python benchmarks/sizing/cases.py main > cases.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.random_checkpoint import find_model  # noqa: E402

GIB = 2**30
FUSED = ["lora", "liger"]  # what ql switches on for Axolotl by default


def shape(sequence_len: int, micro_batch: int, **more: Any) -> dict[str, Any]:
    found = {"sequence_len": sequence_len, "micro_batch_size": micro_batch, **more}
    if sequence_len * micro_batch >= 16384:
        found.setdefault("steps", 1)
    return found


def job(trainer: str, model: str, shapes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """One process: a loaded model and its shapes. ``gib``: what it holds, and what it may take at its peak."""
    method = more.pop("method", "qlora")
    checkpoint = more.pop("checkpoint", "bf16" if method == "lora" else "nf4")
    words = [trainer, model, method, *(f"{key}={value}" for key, value in more.items() if key != "extra")]
    name = "-".join(words).replace("[", "").replace("]", "").replace("'", "").replace(", ", "+").replace("=", "_")
    parameters = find_model(model).parameters if not more.get("layers") else 2.5e9
    held = parameters * (2.0 if method == "lora" else 0.6) / GIB + 2.5
    return {
        "id": name, "trainer": trainer, "model": model, "method": method, "checkpoint": checkpoint,
        "gib": [round(held, 1), round(held + 25, 1)], "shapes": shapes, **more,
    }  # fmt: skip


def smoke() -> list[dict[str, Any]]:
    """Every setting once on a model of four layers, with what was alive at the peak."""
    shapes = [shape(2048, 2), shape(2048, 2, history=True, eval_rows=4), shape(4096, 2, rows="full")]
    variants: list[tuple[str, dict[str, Any]]] = [
        ("axolotl", {}),
        ("unsloth", {}),
        ("axolotl", {"kernels": FUSED}),
        ("axolotl", {"kernels": ["liger"]}),
        ("unsloth", {"gradient_checkpointing": False}),
        ("axolotl", {"kernels": FUSED, "gradient_checkpointing": False}),
        ("axolotl", {"gradient_checkpointing": False}),
        ("unsloth", {"activation_offload": True}),
        ("axolotl", {"kernels": FUSED, "activation_offload": True}),
        ("unsloth", {"method": "lora"}),
        ("axolotl", {"method": "lora"}),
        ("axolotl", {"method": "lora", "kernels": FUSED}),
        ("axolotl", {"kernels": ["lora"]}),
        ("unsloth", {"compute_dtype": "float16"}),
        ("axolotl", {"kernels": FUSED, "compute_dtype": "float16"}),
        ("unsloth", {"packing": True}),
        ("axolotl", {"kernels": FUSED, "packing": True}),
        ("axolotl", {"kernels": FUSED, "attn_implementation": "eager"}),
    ]
    jobs = []
    for trainer, more in variants:
        used = shapes
        if more.get("packing"):
            rows = "own" if trainer == "unsloth" else "short"
            used = [shape(2048, 2, rows=rows, history=True), shape(4096, 2, rows=rows)]
        jobs.append(job(trainer, "llama-3.1-8b", used, layers=4, **more))
    return jobs


def main() -> list[dict[str, Any]]:
    """The published cases, the most wanted first."""
    usual = [shape(2048, 2), shape(512, 16), shape(2048, 8), shape(8192, 1)]
    plain = [shape(2048, 2), shape(1024, 4), shape(4096, 1)]
    jobs = []

    def both(model: str, shapes: list[dict[str, Any]], **more: Any) -> None:
        jobs.append(job("axolotl", model, shapes, kernels=FUSED, **more))
        # Unsloth takes the padding out of a batch: only full rows have as many tokens as the shape says
        jobs.append(job("unsloth", model, [{**one, "rows": "full"} for one in shapes], **more))

    both("llama-2-7b", usual, checkpoint="bf16")
    both("mistral-7b", [*usual, shape(8192, 2)])
    jobs.append(job("axolotl", "mistral-7b", plain))
    both("llama-3.1-8b", [*usual[:3], shape(4096, 4)])
    both("qwen2.5-14b", [shape(2048, 2), shape(2048, 8), shape(8192, 1)])
    jobs.append(job("axolotl", "llama-3.1-8b", plain))
    both("llama-2-70b", [shape(2048, 1), shape(2048, 4, steps=1)])
    both("qwen2.5-7b", usual[:3])
    jobs.append(job("axolotl", "qwen2.5-14b", [shape(2048, 2)]))
    both("llama-2-7b", [shape(2048, 2), shape(2048, 8)], method="lora")
    both("qwen2.5-32b", [shape(2048, 1), shape(2048, 4, steps=1)])
    both("mistral-7b", [shape(2048, 1), shape(1024, 4)], gradient_checkpointing=False)
    both("llama-2-7b", [shape(2048, 1), shape(1024, 4)], gradient_checkpointing=False, checkpoint="bf16")
    jobs.append(job("axolotl", "llama-2-7b", plain, checkpoint="bf16"))
    both("llama-2-13b", [shape(2048, 2), shape(2048, 8)])
    both("llama-2-7b", [shape(2048, 4), shape(8192, 1)], activation_offload=True, checkpoint="bf16")
    both("mistral-7b", [shape(2048, 2), shape(2048, 8)], method="lora")
    both("llama-2-7b", [shape(2048, 2), shape(2048, 8)], compute_dtype="float16", checkpoint="bf16")
    both("mistral-7b", [shape(8192, 2)], activation_offload=True)
    jobs.append(job("axolotl", "mistral-7b", [shape(2048, 4), shape(8192, 1)], kernels=["liger"]))
    jobs.append(job("axolotl", "qwen2.5-7b", plain[:2]))
    jobs.append(
        job("axolotl", "llama-2-7b", [shape(2048, 1), shape(1024, 2)], method="lora", gradient_checkpointing=False)
    )
    jobs.append(job("axolotl", "llama-2-7b", [shape(2048, 4), shape(8192, 1)], kernels=["liger"], checkpoint="bf16"))
    jobs.append(job("axolotl", "llama-2-7b", [shape(2048, 4)], kernels=["lora"], checkpoint="bf16"))
    both("qwen2.5-7b", [shape(2048, 2), shape(1024, 4)], gradient_checkpointing=False)
    return jobs


if __name__ == "__main__":
    print(json.dumps({"smoke": smoke, "main": main}[sys.argv[1]](), indent=1))
