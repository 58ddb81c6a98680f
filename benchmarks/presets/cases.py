"""What prove.py measures: every named preset's planned shape under its card's cap, and what it is held against.

Presets of one trainer, model, dtype and mode share a loaded model. Presets with the same shape share one measurement,
made under the tightest of their caps: what fits there fits under the others.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from launcher.catalog import list_presets  # noqa: E402
from launcher.planning.decide import make_plan  # noqa: E402
from launcher.planning.estimate import estimate_plan_memory, memory_request  # noqa: E402
from launcher.planning.plan import Plan  # noqa: E402
from launcher.planning.request import Request, make_request  # noqa: E402
from launcher.sizing import MemoryEstimate, estimate_memory  # noqa: E402
from launcher.sizing.memory import OPTIMIZER_BYTES  # noqa: E402
from launcher.sizing.throughput import tokens_per_second  # noqa: E402

PROVING_CARD = "h200"
EXAMPLE_ROWS = 2  # micro-batch of both trainers' own example settings
EXAMPLE_KERNELS = {"axolotl": ("lora",), "unsloth": ()}  # Axolotl switches its LoRA kernels on by itself, Liger not
HOUSE = ("a10g", "4090", "a100-48gb", "h100")  # the cards whose presets are measured first
EXAMPLES_FIRST = ("a10g-7b", "h100-7b")  # and whose example settings
FIRST = (
    "a10g-7b", "4090-7b", "a100-48gb-70b", "h100-7b", "a10g-13b", "4090-13b", "a100-48gb-13b", "a100-48gb-7b",
    "h100-13b", "a10g-8b", "4090-8b", "a100-48gb-8b", "h100-8b", "a100-48gb-32b", "h100-70b",
)  # fmt: skip
# Order in which models are measured.
MODELS = ("mistral-7b", "llama-2-70b", "llama-2-13b", "llama-3.1-8b", "qwen2.5-14b", "qwen2.5-32b")
MODEL_KEYS = ("trainer", "model", "method", "compute_dtype", "gradient_checkpointing", "activation_offload", "kernels")


@dataclass(frozen=True)
class Proof:
    """One preset: its plan, its prediction, and the cap that stands for its card."""

    preset: str
    plan: Plan
    request: Request
    memory: MemoryEstimate

    @property
    def cap_gib(self) -> float:
        """What the allocator may reserve: the card's usable memory less context and paged optimizer state.

        The whole usable memory, not the budget: the margin is what a preset leaves free, and the table says how much.
        """
        job = memory_request(self.plan.to_dict(), self.request)
        outside = self.memory.breakdown_gib["cuda_context"]
        if OPTIMIZER_BYTES[job.optimizer][1]:
            outside += self.memory.breakdown_gib["optimizer_state"]
        return self.request.gpu.usable_gib - outside

    @property
    def group(self) -> dict[str, Any]:
        """What a loaded trainer is made for."""
        plan = self.plan
        return {
            "trainer": plan.backend,
            "model": plan.model,
            "method": plan.method,
            "compute_dtype": plan.compute_dtype,
            "gradient_checkpointing": plan.gradient_checkpointing,
            "activation_offload": plan.activation_offload,
            "kernels": list(plan.kernels),
        }

    @property
    def gain(self) -> float | None:
        """How many times as fast as the example settings the plan is predicted to be on the preset's own card."""
        values = self.plan.to_dict() | {key: value for key, value in example_group(self).items() if key != "trainer"}
        example = memory_request(values | {"micro_batch_size": EXAMPLE_ROWS}, self.request)
        planned = memory_request(self.plan.to_dict(), self.request)
        before, after = (tokens_per_second(job, self.request.gpu) for job in (example, planned))
        return after / before if before and after else None

    @property
    def shape(self) -> dict[str, Any]:
        return {
            "sequence_len": self.plan.sequence_len,
            "micro_batch_size": self.plan.micro_batch_size,
            "eval_rows": self.plan.eval_batch_size,
            "rows": "full",
            "steps": 1,
        }


@cache
def proofs() -> tuple[Proof, ...]:
    """Every named preset of a GPU, in the order of `MODELS`; what a calibration says of this machine is left out."""
    found = []
    for name in list_presets():
        request = make_request(preset=name)
        if request.gpu.kind != "cuda":
            continue
        request = replace(request, corrections={})
        plan = make_plan(request)
        found.append(Proof(name, plan, request, estimate_plan_memory(plan, request)))
    return tuple(sorted(found, key=lambda proof: (MODELS.index(proof.plan.model), proof.request.gpu.usable_gib)))


def seconds_of(group: dict[str, Any], shape: dict[str, Any], template: Proof) -> float:
    """About how long a shape takes on the proving card: two micro-batches, and an evaluation of a third of one."""
    request = make_request(gpu=PROVING_CARD, model=template.request.model.name)
    job = memory_request(template.plan.to_dict(), template.request)
    job = replace(
        job,
        sequence_len=shape["sequence_len"],
        micro_batch_size=shape["micro_batch_size"],
        kernels=tuple(group["kernels"]),
        gradient_checkpointing=group["gradient_checkpointing"],
    )
    rate = tokens_per_second(job, request.gpu) or 1000.0
    micro_batches = 2 * shape["steps"] + 0.4
    return micro_batches * shape["sequence_len"] * shape["micro_batch_size"] / rate + 1.0


def jobs() -> list[dict[str, Any]]:
    """The jobs of benchmarks/sizing/measure.py in the order of their importance: what the house's cards need first.

    A job with ``later`` begins when all others have.
    """
    shapes: dict[tuple[str, str], dict[str, Any]] = {}
    groups: dict[str, Proof] = {}
    for proof in proofs():
        group = _name(proof.group)
        groups.setdefault(group, proof)
        fresh = {**proof.shape, "cap_gib": proof.cap_gib, "peak_gib": proof.memory.needed_gib, "presets": []}
        known = shapes.setdefault((group, _name(proof.shape)), fresh)
        known["presets"].append(proof.preset)
        known["cap_gib"] = min(known["cap_gib"], round(proof.cap_gib, 4))
    gpus = {proof.preset: proof.request.gpu.name for proof in proofs()}
    rank = {preset: place for place, preset in enumerate(FIRST)}
    found = []
    for later in (False, True):
        for group, proof in groups.items():
            chosen = [
                shape
                for (name, _), shape in shapes.items()
                if name == group and later != any(gpus[preset] in HOUSE for preset in shape["presets"])
            ]
            if chosen:
                job = _job(proof.group, chosen, proof)
                place = min(rank.get(preset, len(FIRST)) for shape in chosen for preset in shape["presets"])
                name = job["id"] + ("-later" if later else "")
                found.append({**job, "id": name, "later": later, "rank": place})
    # Right behind the presets that they are held against.
    found += [
        {**_example(proof, later=False), "rank": rank[proof.preset] + 4.5}
        for proof in proofs()
        if proof.preset in EXAMPLES_FIRST
    ]
    found += [{**_example(proof, later=True), "rank": len(FIRST) + 1} for proof in _one_each()]
    return sorted({job["id"]: job for job in reversed(found)}.values(), key=_importance)


def _importance(job: dict[str, Any]) -> tuple[bool, float, int]:
    return job["later"], job["rank"], MODELS.index(job["model"])


def _one_each() -> list[Proof]:
    """One preset of each trainer and model: its example settings are measured once for all its cards."""
    kept: dict[tuple[str, str], Proof] = {}
    for proof in proofs():
        if not any((proof.plan.backend, proof.plan.model) == _example_of(name) for name in EXAMPLES_FIRST):
            kept.setdefault((proof.plan.backend, proof.plan.model), proof)
    return list(kept.values())


def _example_of(preset: str) -> tuple[str, str]:
    plan = next(proof.plan for proof in proofs() if proof.preset == preset)
    return plan.backend, plan.model


def _job(group: dict[str, Any], shapes: list[dict[str, Any]], proof: Proof) -> dict[str, Any]:
    shapes.sort(key=lambda shape: (shape["cap_gib"], shape["micro_batch_size"]))
    seconds = sum(seconds_of(group, shape, proof) for shape in shapes)
    weights = sum(proof.memory.breakdown_gib.get(part, 0.0) for part in WEIGHTS) + 1.0
    peak = max(shape.pop("peak_gib") for shape in shapes)
    return {
        "id": _name(group),
        "kind": "preset",
        **group,
        "checkpoint": "nf4",
        "seed": 1,
        "shapes": shapes,
        "seconds": round(seconds, 1),
        "gib": [round(weights, 1), round(min(peak + 3.0, 125.0), 1)],
    }


WEIGHTS = ("quantized_weights", "base_weights", "embeddings_norms", "adapter_gradients")


def example_group(proof: Proof) -> dict[str, Any]:
    """What a trainer with its own example settings is loaded for."""
    return {
        **proof.group,
        "gradient_checkpointing": True,
        "activation_offload": proof.plan.backend == "unsloth",
        "kernels": list(EXAMPLE_KERNELS[proof.plan.backend]),
    }


def _example(proof: Proof, *, later: bool) -> dict[str, Any]:
    """The trainer's own example settings on the same model: micro-batch 2, checkpointing, its own kernels."""
    group = example_group(proof)
    shape = {**proof.shape, "micro_batch_size": EXAMPLE_ROWS, "eval_rows": EXAMPLE_ROWS}
    values = proof.plan.to_dict() | {key: value for key, value in group.items() if key != "trainer"}
    needed = estimate_memory(memory_request(values | {"micro_batch_size": EXAMPLE_ROWS}, proof.request)).needed_gib
    job = _job(group, [{**shape, "cap_gib": 125.0, "peak_gib": needed, "presets": []}], proof)
    return {**job, "id": "example-" + job["id"], "kind": "example", "later": later}


def extra_jobs() -> list[dict[str, Any]]:
    """QLoRA against LoRA, fp16 against bf16, and packing against padding: on the 7B, or on its first eight layers."""
    common = {
        "trainer": "axolotl",
        "model": "mistral-7b",
        "activation_offload": False,
        "kernels": ["lora", "liger"],
        "checkpoint": "bf16",
        "seed": 1,
        "later": True,
    }
    full = {"sequence_len": 2048, "rows": "full", "eval_rows": 1, "presets": []}
    found = []
    for method in ("lora", "qlora"):
        for trainer in ("axolotl", "unsloth"):
            job = {
                **common,
                "trainer": trainer,
                "kind": "method",
                "method": method,
                "compute_dtype": "bfloat16",
                "kernels": ["lora", "liger"] if trainer == "axolotl" else [],
                "gradient_checkpointing": True,
                "shapes": [{**full, "micro_batch_size": rows} for rows in (2, 8)],
                "gib": [16.0 if method == "lora" else 6.0, 40.0],
                "seconds": 14.0,
            }
            found.append({**job, "id": f"method-{trainer}-{method}"})
    for dtype in ("float16", "bfloat16"):
        job = {
            **common,
            "kind": "dtype",
            "method": "qlora",
            "layers": 8,
            "compute_dtype": dtype,
            "gradient_checkpointing": False,
            "own_rows": {"rows": 1000, "words": 200, "sigma": 0.5, "longest": 900},
            "shapes": [
                {"sequence_len": 1024, "micro_batch_size": 8, "rows": "own", "steps": 60, "presets": [], "eval_rows": 0}
            ],
            "gib": [3.0, 24.0],
            "seconds": 25.0,
        }
        found.append({**job, "id": f"dtype-{dtype}"})
    for packing in (False, True):
        job = {
            **common,
            "kind": "packing",
            "method": "qlora",
            "compute_dtype": "bfloat16",
            "gradient_checkpointing": True,
            "packing": packing,
            "own_rows": {"rows": 600, "words": 200, "sigma": 0.7, "longest": 1800},
            "shapes": [
                {
                    "sequence_len": 2048,
                    "micro_batch_size": 2 if packing else 16,
                    "rows": "own",
                    "steps": 6,
                    "presets": [],
                    "eval_rows": 0,
                }
            ],
            "gib": [6.0, 40.0],
            "seconds": 20.0,
        }
        found.append({**job, "id": f"packing-{'on' if packing else 'off'}"})
    return found


def _name(facts: dict[str, Any]) -> str:
    """A file name that says what is in ``facts``."""
    parts = []
    for key, value in facts.items():
        if key in ("trainer", "model", "method"):
            parts.append(str(value))
        elif key == "compute_dtype":
            parts.append({"float16": "fp16", "bfloat16": "bf16"}[value])
        elif key == "gradient_checkpointing":
            parts.append("recompute" if value else "keep")
        elif key == "activation_offload" and value:
            parts.append("offload")
        elif key == "kernels":
            parts.append("+".join(value) or "own")
        elif key in ("sequence_len", "micro_batch_size", "eval_rows"):
            parts.append(f"{key[:1]}{value}")
    return "-".join(parts)
