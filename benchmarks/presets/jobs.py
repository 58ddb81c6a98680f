"""What prove.py measures: every named preset's planned shape under its card's cap, and what it is held against.

Presets of one trainer, model, dtype and mode share a loaded model. Presets with the same shape share one measurement,
made under the tightest of their caps: what fits there fits under the others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from launcher.catalog import list_presets, load_gpu  # noqa: E402
from launcher.planning.decide import make_plan  # noqa: E402
from launcher.planning.estimate import estimate_plan_memory, memory_request  # noqa: E402
from launcher.planning.plan import Plan  # noqa: E402
from launcher.planning.request import Request  # noqa: E402
from launcher.preparing.request import make_request  # noqa: E402
from launcher.sizing import MemoryEstimate, estimate_memory  # noqa: E402
from launcher.sizing.memory import OPTIMIZER_BYTES  # noqa: E402
from launcher.sizing.throughput import tokens_per_second  # noqa: E402

PROVING_CARD = "h200"
EXAMPLE_ROWS = 2  # micro-batch of both trainers' own example settings
EXAMPLE_KERNELS = {"axolotl": ("lora",), "unsloth": ()}  # Axolotl switches its LoRA kernels on by itself, Liger not
HOUSE = ("a10g", "4090", "a100-48gb", "h100")  # the cards whose presets are measured first
EXAMPLES_OF_BOTH_DTYPES = "mistral-7b"  # its example settings are measured in float16 and in bfloat16
# Order in which models are measured.
MODELS = ("qwen2.5-14b", "llama-2-13b", "mistral-7b", "llama-3.1-8b", "qwen2.5-32b", "llama-2-70b")
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
    """About how long a shape takes on the proving card: micro-batches, an evaluation, 2 s more."""
    micro_batches: float = 2 * shape["steps"] + 0.4
    return micro_batches * micro_batch_seconds(group, shape, template) + 2.0


def micro_batch_seconds(group: dict[str, Any], shape: dict[str, Any], template: Proof) -> float:
    """Seconds of one micro-batch on the proving card, by the speed model."""
    job = replace(
        memory_request(template.plan.to_dict(), template.request),
        sequence_len=shape["sequence_len"],
        micro_batch_size=shape["micro_batch_size"],
        kernels=tuple(group["kernels"]),
        gradient_checkpointing=group["gradient_checkpointing"],
    )
    rate = tokens_per_second(job, load_gpu(PROVING_CARD)) or 1000.0
    return float(shape["sequence_len"] * shape["micro_batch_size"] / rate)


def jobs(records: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """The jobs of benchmarks/sizing/measure.py, one for each loaded trainer, what is worth most first.

    ``records`` are earlier results: what they hold is left out, or comes last where it was timed beside other work.
    Rows come full, which is what is timed, and where there are several in a micro-batch also ragged, which is what a
    plan promises room for.
    """
    groups: dict[str, Proof] = {}
    shapes: dict[str, dict[str, dict[str, Any]]] = {}
    for proof in proofs():
        group = _name(proof.group)
        groups.setdefault(group, proof)
        for rows in ("full", "ragged") if proof.shape["micro_batch_size"] > 1 else ("full",):
            fresh = {**proof.shape, "rows": rows, "cap_gib": proof.cap_gib, "presets": []}
            known = shapes.setdefault(group, {}).setdefault(_name(fresh), fresh)
            known["presets"].append(proof.preset)
            known["cap_gib"] = min(known["cap_gib"], round(proof.cap_gib, 4))
            known["peak_gib"] = max(known.get("peak_gib", 0.0), proof.memory.needed_gib)
    done = Done(records)
    found = []
    for group, proof in groups.items():
        left = [shape for shape in shapes[group].values() if not done.for_good("preset", group, shape)]
        large = [shape for shape in left if shape["peak_gib"] > WHOLE_GIB]
        small = [shape for shape in left if shape not in large]
        found += [_job(proof.group, small, proof, done)] if small else []
        if large:
            found.append(_job(proof.group, large, proof, done))
            found[-1]["id"] += WHOLE
    for proof in _one_each():
        example = _example(proof)
        if not done.for_good("example", example["id"], example["shapes"][0]):
            again = done.somehow("example", example["id"], example["shapes"][0])
            found.append({**example, "rank": AGAIN if again else EXAMPLE})
    return sorted(found, key=lambda job: (job["rank"], MODELS.index(job["model"])))


# Ranks of jobs, of which the least begin first: presets that nothing proves yet, those of the house's cards before the
# others and what needs the whole device behind them; then the example settings, and what is only to be timed again.
HOUSE_FIRST, OTHERS, WHOLE_DEVICE, EXAMPLE, RAGGED, AGAIN = range(6)
WHOLE_GIB, WHOLE = 90.0, "-whole"  # from where on a shape waits for the others to leave, in a job of its own
LONG_SECONDS = 1.5  # a micro-batch that takes longer is run twice, not four times


class Done:
    """What earlier records say of a shape."""

    def __init__(self, records: Iterable[dict[str, Any]]) -> None:
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        for record in records:
            if "error" not in record and record.get("training"):
                self.records[shape_key(record["kind"], record["id"], record["shape"])] = record

    def somehow(self, kind: str, name: str, shape: dict[str, Any]) -> bool:
        """Whether it was run under a cap that is tight enough, or looser and ran out."""
        record = self.records.get(shape_key(kind, name, shape))
        if record is None:
            return False
        cap, had = shape.get("cap_gib"), record["shape"].get("cap_gib")
        return cap is None or had is None or had <= cap + 1e-3 or "out_of_memory" in record

    def for_good(self, kind: str, name: str, shape: dict[str, Any]) -> bool:
        """Whether there is nothing to add: it was timed with the card to itself, ran out, or is not for its speed."""
        if not self.somehow(kind, name, shape):
            return False
        record = self.records[shape_key(kind, name, shape)]
        timed = kind not in ("blind",) and shape.get("rows") != "ragged"
        return not timed or "out_of_memory" in record or record.get("alone", False)


def shape_key(kind: str, name: str, shape: dict[str, Any]) -> tuple[str, str]:
    """What two records of the same measurement have in common."""
    return f"{kind} {name.removesuffix('-later').removesuffix(WHOLE)}", _name(shape) + f" {shape.get('expected', '')}"


def remaining(jobs: Iterable[dict[str, Any]], records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs without the shapes that ``records`` hold; those with none left are left out."""
    done, found = Done(records), []
    for job in jobs:
        shapes = [shape for shape in job["shapes"] if not done.for_good(job["kind"], job["id"], shape)]
        if shapes:
            found.append({**job, "shapes": shapes})
    return found


def _one_each() -> list[Proof]:
    """One preset of each trainer, model and dtype of the house's cards: example settings are measured once for all."""
    kept: dict[tuple[str, ...], Proof] = {}
    for proof in proofs():
        plan = proof.plan
        if plan.model == EXAMPLES_OF_BOTH_DTYPES:
            kept.setdefault((plan.backend, plan.model, plan.compute_dtype), proof)
        else:
            kept.setdefault((plan.backend, plan.model), proof)
    return list(kept.values())


def _job(group: dict[str, Any], shapes: list[dict[str, Any]], proof: Proof, done: Done) -> dict[str, Any]:
    name = _name(group)

    def rank(shape: dict[str, Any]) -> int:
        if done.somehow("preset", name, shape):
            return AGAIN
        if shape["rows"] == "ragged":
            return RAGGED
        if shape["peak_gib"] > WHOLE_GIB:
            return WHOLE_DEVICE
        return HOUSE_FIRST if any(preset.startswith(HOUSE) for preset in shape["presets"]) else OTHERS

    for shape in shapes:
        if shape["rows"] == "full" and micro_batch_seconds(group, shape, proof) < LONG_SECONDS:
            shape["steps"] = 2
    shapes.sort(key=lambda shape: (rank(shape), shape["cap_gib"], shape["micro_batch_size"]))
    first = min(rank(shape) for shape in shapes)
    seconds = sum(seconds_of(group, shape, proof) for shape in shapes)
    weights = sum(proof.memory.breakdown_gib.get(part, 0.0) for part in WEIGHTS) + 1.0
    peak = max(shape.pop("peak_gib") for shape in shapes)
    return {
        "id": name,
        "kind": "preset",
        **group,
        "checkpoint": "nf4",
        "seed": 1,
        "shapes": shapes,
        "seconds": round(seconds, 1),
        "gib": [round(weights, 1), round(min(peak + 3.0, 125.0), 1)],
        "rank": first,
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


def _example(proof: Proof) -> dict[str, Any]:
    """The trainer's own example settings on the same model: micro-batch 2, checkpointing, its own kernels."""
    group = example_group(proof)
    shape = {**proof.shape, "micro_batch_size": EXAMPLE_ROWS, "eval_rows": EXAMPLE_ROWS}
    values = proof.plan.to_dict() | {key: value for key, value in group.items() if key != "trainer"}
    needed = estimate_memory(memory_request(values | {"micro_batch_size": EXAMPLE_ROWS}, proof.request)).needed_gib
    job = _job(group, [{**shape, "cap_gib": 125.0, "peak_gib": needed, "presets": []}], proof, Done(()))
    return {**job, "id": "example-" + job["id"], "kind": "example"}


def extra_jobs() -> list[dict[str, Any]]:
    """QLoRA against LoRA, fp16 against bf16, and packing against padding: on the 7B, or on its first eight layers."""
    return [
        *(_method_job(trainer, method) for method in ("lora", "qlora") for trainer in ("axolotl", "unsloth")),
        *(_dtype_job(dtype) for dtype in ("float16", "bfloat16")),
        *(_packing_job(packing) for packing in (False, True)),
    ]


EXTRA = {
    "trainer": "axolotl",
    "model": "mistral-7b",
    "activation_offload": False,
    "kernels": ["lora", "liger"],
    "checkpoint": "bf16",
    "seed": 1,
    "rank": OTHERS,
}


def _method_job(trainer: str, method: str) -> dict[str, Any]:
    full = {"sequence_len": 2048, "rows": "full", "eval_rows": 1, "presets": []}
    return {
        **EXTRA,
        "id": f"method-{trainer}-{method}",
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


def _own_rows(sequence_len: int, micro_batch_size: int, steps: int) -> dict[str, Any]:
    """A shape of the job's own data."""
    return {
        "sequence_len": sequence_len,
        "micro_batch_size": micro_batch_size,
        "rows": "own",
        "steps": steps,
        "presets": [],
        "eval_rows": 0,
    }


def _dtype_job(dtype: str) -> dict[str, Any]:
    return {
        **EXTRA,
        "id": f"dtype-{dtype}",
        "kind": "dtype",
        "method": "qlora",
        "layers": 8,
        "compute_dtype": dtype,
        "gradient_checkpointing": False,
        "own_rows": {"rows": 1000, "words": 200, "sigma": 0.5, "longest": 900},
        "shapes": [_own_rows(1024, 8, 60)],
        "gib": [3.0, 24.0],
        "seconds": 25.0,
    }


def _packing_job(packing: bool) -> dict[str, Any]:
    return {
        **EXTRA,
        "id": f"packing-{'on' if packing else 'off'}",
        "kind": "packing",
        "method": "qlora",
        "compute_dtype": "bfloat16",
        "gradient_checkpointing": True,
        "packing": packing,
        "own_rows": {"rows": 600, "words": 200, "sigma": 0.7, "longest": 1800},
        "shapes": [_own_rows(2048, 2 if packing else 16, 6)],
        "gib": [6.0, 40.0],
        "seconds": 20.0,
    }


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
        elif key == "rows":
            parts.append(value)
    return "-".join(parts)
