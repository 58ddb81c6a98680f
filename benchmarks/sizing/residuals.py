"""Prediction against measurement, case by case, from the committed results: no GPU, no torch.

python benchmarks/sizing/residuals.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.random_checkpoint import find_model  # noqa: E402
from launcher.catalog.architecture import count_parameters  # noqa: E402
from launcher.sizing import MemoryEstimate, MemoryRequest, estimate_memory  # noqa: E402
from launcher.sizing.memory import paged_state  # noqa: E402
from launcher.trainers import get_trainer  # noqa: E402

# No constant of the training peaks was fitted to a run of these; the others were.
HELD_OUT = {"axolotl": ("llama-2-13b", "qwen2.5-7b", "qwen2.5-32b"), "unsloth": ("llama-2-7b", "qwen2.5-7b")}


@dataclass(frozen=True)
class Case:
    """One measured job and its estimate; GiB."""

    name: str
    raw: dict[str, Any]
    request: MemoryRequest
    estimate: MemoryEstimate

    @property
    def held_out(self) -> bool:
        return not self.cut and self.raw["model"] in HELD_OUT[self.raw["trainer"]]

    @property
    def cut(self) -> bool:
        """A model of its first layers only: for the terms of a layer, not among the published residuals."""
        return "layers" in self.raw

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """Figure: (measured, predicted)."""
        found, said = measured(self.raw), predicted(self.request, self.estimate)
        return {figure: (found[figure], said[figure]) for figure in found}

    def error(self, figure: str) -> float:
        """(predicted - measured) / measured."""
        measured, predicted = self.figures[figure]
        return predicted / measured - 1


def measured(raw: dict[str, Any]) -> dict[str, float]:
    """Figure: GiB that were measured; without evaluation's where none was made.

    ``device`` is the driver's figure for the process at its training peak; without it where the driver had none.
    """
    found = {"allocated": raw["training"]["allocated_gib"]}
    peaks = {"device": raw["training"], "loading device": raw["loading"]}
    if raw.get("evaluation"):
        found["evaluation"] = raw["evaluation"]["allocated_gib"]
        peaks["evaluation device"] = raw["evaluation"]
    if raw["after"]["process_gib"] is not None:
        context = raw["after"]["process_gib"] - raw["after"]["reserved_gib"]
        found |= {figure: peak["reserved_gib"] + context for figure, peak in peaks.items()}
    return found


def predicted(request: MemoryRequest, estimate: MemoryEstimate) -> dict[str, float]:
    """Figure: GiB that were predicted. The driver's figure leaves out managed memory, so paged state is taken off."""
    paged = paged_state(request)
    return {
        "allocated": estimate.allocated_gib,
        "device": estimate.peak_gib - paged,
        "evaluation": estimate.evaluation_allocated_gib,
        "evaluation device": estimate.evaluation_gib - paged,
        "loading device": estimate.load_gib,
    }


def read(folder: Path = HERE / "results") -> list[Case]:
    return [_case(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]


def _case(name: str, raw: dict[str, Any]) -> Case:
    request = request_of(raw)
    return Case(name, raw, request, estimate_memory(request))


def request_of(raw: dict[str, Any]) -> MemoryRequest:
    """What the memory model is asked for a job that was, or will be, measured."""
    model, plan, shape = find_model(raw["model"]), raw["plan"], raw["shape"]
    if "layers" in raw:
        model = replace(model, num_layers=raw["layers"])
        model = replace(model, parameters=count_parameters(model))
    return MemoryRequest(
        model=model,
        trainer=get_trainer(raw["trainer"]).terms,
        method=raw["method"],
        sequence_len=shape["sequence_len"],
        micro_batch_size=shape["micro_batch_size"],
        eval_batch_size=raw["evaluation"]["rows"],
        lora_r=plan["lora_r"],
        lora_target_modules=tuple(plan["lora_target_modules"]),
        double_quant=plan["double_quant"],
        optimizer=plan["optimizer"],
        gradient_checkpointing=plan["gradient_checkpointing"],
        activation_offload=plan["activation_offload"],
        attn_implementation=plan["attn_implementation"],
        kernels=tuple(plan["kernels"]),
        compute_dtype=plan["compute_dtype"],
        packing=plan["packing"] or shape.get("rows") == "full",  # full rows are not padded either
        prequantized=raw["checkpoint"] == "nf4",
        usable_gib=raw["device"]["total_gib"],
    )


def published(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if not case.cut]


def summary(cases: Iterable[Case], figure: str) -> dict[str, float]:
    """Mean and worst absolute error, and the deepest underestimate, as shares of what was measured."""
    errors = [case.error(figure) for case in cases]
    worst = max(errors, key=abs)
    return {"cases": len(errors), "mean": sum(map(abs, errors)) / len(errors), "worst": worst, "lowest": min(errors)}


def select(cases: list[Case], chosen: Callable[[Case], bool]) -> list[Case]:
    return [case for case in published(cases) if chosen(case)]
