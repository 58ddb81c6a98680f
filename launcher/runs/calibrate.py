"""Calibrate: a few steps of the planned config on this machine's own card, measured beside the prediction."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from launcher.catalog import Gpu, find_gpu, load_gpu
from launcher.errors import BadInput, Problem, RunFailed
from launcher.files import read_json_lines
from launcher.planning.corrections import PLAUSIBLE, MachineCorrection
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_equal_rows_memory, estimate_plan_memory, memory_request, plan_speed
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.preparing.calibrations import store_correction
from launcher.preparing.prepare import prepare
from launcher.preparing.prepared import Prepared
from launcher.records.environment import Environment
from launcher.records.events import Event
from launcher.records.run import Training
from launcher.runs import preflight
from launcher.sizing import Correction, MemoryEstimate, MemoryRequest, estimate_memory
from launcher.sizing.memory import cuda_context, paged_state
from launcher.trainers import get_trainer
from launcher.trainers.launch import OnEvent

STEPS = 6  # the first warms up and the second may compile: speed is the median of the others
ACCUMULATION = 2  # micro-batches per step: the gradients of the first are there while the second runs
PROBE_CONTEXT_GIB = 0.6  # what `examine` itself holds of the card while it looks: a bare CUDA context
HALVINGS = 20  # of the plausible range of a ratio: to less than 1e-5
OTHERS_GIB = 0.3  # more than this in use before we begin, and what the device shows is not only ours
WORDS = ("data", "token", "layer", "model", "train", "value", "index", "scale", "batch", "graph", "merge", "score")


@dataclass(frozen=True)
class Calibration:
    """Predicted and measured, GiB and tokens per second; ``correction`` is what was stored, in ``path``.

    ``before`` is the prediction as it was when the run began, ``after`` with the new correction; both are, as what was
    measured, of rows of full length. What rows of unequal length take on top, a note says.
    """

    gpu: Gpu
    plan: Plan
    before: dict[str, float | None]
    measured: dict[str, float | None]
    after: dict[str, float | None]
    correction: MachineCorrection
    path: Path
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        plan = self.plan
        keys = ("backend", "method", "compute_dtype", "sequence_len", "micro_batch_size", "gradient_checkpointing")
        return {
            "gpu": self.gpu.name,
            "device": self.correction.device,
            "model": plan.model,
            "plan": {key: getattr(plan, key) for key in (*keys, "activation_offload", "packing")},
            "steps": STEPS,
            "predicted": self.before,
            "measured": self.measured,
            "predicted_after": self.after,
            "correction": {
                "activations": self.correction.memory.activations,
                "context_gib": self.correction.memory.context_gib,
                "speed": self.correction.speed,
            },
            "stored_in": str(self.path),
            "notes": list(self.notes),
        }


def card_of_this_machine(facts: Environment) -> Gpu:
    """The catalog's card that is the first device of ``facts`` (see `preflight.examine`); the CPU where there is none.

    Raises BadInput for a card that the catalog does not have.
    """
    if not facts.devices:
        return load_gpu("cpu")
    name = facts.devices[0].name
    found = find_gpu(name)
    if found is None:
        hint = "estimates for it go by --vram; a file like presets/gpus/a10g.yaml would make it known"
        raise BadInput(f"{name} is no card of the catalog, so no estimate would use its correction", hint=hint)
    return found


def calibrate(request: Request, facts: Environment, python: str, on_event: OnEvent) -> Calibration:
    """Train `STEPS` steps of the plan of ``request`` with its real trainer, on full rows, and store what differs.

    ``facts`` are what `preflight.examine` says of ``python``. Nothing of the run is kept. Raises BadInput when the
    plan is for another card than this machine's or does not fit it, RunFailed when the trainer cannot start or fails.
    """
    here = card_of_this_machine(facts)
    if here.name != request.gpu.name:
        hint = f"name a preset of {here.name}, or --gpu {here.name}: a correction is of one card"
        raise BadInput(f"the plan is for {request.gpu.title}, and this machine has {here.title}", hint=hint)
    request = replace(request, data=None)
    plan = make_plan(request)
    fault = get_trainer(plan.backend).folder_fault(tempfile.gettempdir())
    if fault:
        raise RunFailed(Problem(fault, tempfile.gettempdir(), hint="set TMPDIR to another folder"))
    folder = Path(tempfile.mkdtemp(prefix="ql-calibrate-"))
    try:
        return _measure(_short(plan, request), plan.seed, facts, python, folder, on_event)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short(plan: Plan, request: Request) -> Request:
    """``plan`` again with fewer micro-batches per step, `STEPS` steps and no evaluation."""
    count = min(ACCUMULATION, plan.gradient_accumulation_steps)
    fixed = {
        "backend": plan.backend,
        "method": plan.method,
        "sequence_len": plan.sequence_len,
        "packing": plan.packing,
        "kernels": list(plan.kernels),
        "gradient_checkpointing": plan.gradient_checkpointing,
        "activation_offload": plan.activation_offload,
        "micro_batch_size": plan.micro_batch_size,
        "gradient_accumulation_steps": count,
        "effective_batch_size": plan.micro_batch_size * count,
        "eval_fraction": 0,
        "num_epochs": 1,
        "max_steps": STEPS,
        "excess_length": "truncate",
        "logging_steps": 1,
    }
    return replace(request, overrides={**request.overrides, **fixed}, auto_method=False, auto_backend=False)


def _measure(
    request: Request, seed: int, facts: Environment, python: str, folder: Path, on_event: OnEvent
) -> Calibration:
    run, data = folder / "run", folder / "rows.jsonl"
    run.mkdir()
    _write_rows(data, request.overrides["effective_batch_size"], request.overrides["sequence_len"], seed)
    prepared = prepare(request, data)
    _, problems = preflight.check_environment(prepared.plan, prepared.gpu, prepared.memory.needed_gib, facts)
    preflight.check_base(prepared.plan.base_model)
    preflight.fetch_base(python, prepared.plan.base_model, folder / "fetch.log")
    prepared.write(run)
    outcome = get_trainer(prepared.plan.backend).launch.train(
        run, python=python, memory_fraction=None, on_event=on_event
    )
    events = read_json_lines(run / "events.jsonl")
    return _compare(prepared, request, facts, outcome, events, tuple(problems))


def _write_rows(path: Path, effective_batch_size: int, sequence_len: int, seed: int) -> None:
    """Rows that are longer than the sequence length, so that every one is cut to exactly that."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(STEPS * effective_batch_size):
            answer = " ".join(draw.choice(WORDS) for _ in range(sequence_len))
            turns = [{"role": "user", "content": f"row {number}"}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": turns}) + "\n")


def _compare(
    prepared: Prepared,
    request: Request,
    facts: Environment,
    outcome: Training,
    events: list[Event],
    notes: tuple[str, ...],
) -> Calibration:
    plan, gpu = prepared.plan, request.gpu
    request = replace(request, data=None)
    plain = replace(request, corrections={})
    predicted, speed = estimate_equal_rows_memory(plan, plain), plan_speed(plan, plain)
    device = facts.devices[0].name if facts.devices else "cpu"
    alone = _alone(facts)
    if not alone:
        notes = (*notes, "other processes use this card: neither the CUDA context nor the speed is corrected")
    correction = MachineCorrection(
        memory=_memory_correction(plan, plain, predicted, outcome, alone=alone),
        speed=_speed_correction(speed, outcome.tokens_per_second) if alone else 1.0,
        device=device,
        model=plan.model,
        date=datetime.now(UTC).date().isoformat(),
        versions=next((event["versions"] for event in events if event["event"] == "train_begin"), {}),
    )
    corrected = replace(request, corrections={plan.backend: correction})
    before = _figures(estimate_equal_rows_memory(plan, request), plan_speed(plan, request))
    equal = estimate_equal_rows_memory(plan, corrected)
    after = _figures(equal, plan_speed(plan, corrected))
    if (padded := estimate_plan_memory(plan, corrected).peak_gib) > equal.peak_gib:
        notes = (*notes, f"rows of unequal length need an attention mask too: with them {padded:.2f} GiB on the device")
    return Calibration(
        gpu=gpu,
        plan=plan,
        before=before,
        measured={
            "reserved_gib": None if plan.on_cpu else outcome.peak_memory_gib,
            "device_gib": outcome.peak_memory_gib if plan.on_cpu else outcome.device_gib if alone else None,
            "tokens_per_second": outcome.tokens_per_second,
        },
        after=after,
        correction=correction,
        path=store_correction(gpu, plan.backend, correction),
        notes=notes,
    )


def _figures(memory: MemoryEstimate, speed: float | None) -> dict[str, float | None]:
    return {
        "reserved_gib": round(memory.reserved_gib, 3),
        "device_gib": round(memory.peak_gib, 3),
        "tokens_per_second": None if speed is None else round(speed, 1),
    }


def _alone(facts: Environment) -> bool:
    """Whether the card was ours alone when we looked."""
    if not facts.devices:
        return True
    device = facts.devices[0]
    return bool(device.total_gib - device.free_gib <= PROBE_CONTEXT_GIB + OTHERS_GIB)


def _memory_correction(
    plan: Plan, request: Request, predicted: MemoryEstimate, outcome: Training, *, alone: bool
) -> Correction:
    """What brings the estimate to what was measured: of the allocator, and of what the device shows above it.

    ``predicted`` is of the full rows that were measured, and so is the ratio: with the mask that unequal rows need, it
    would be too low for them. On a CPU there is one figure, the process: all that differs is put on what an empty
    process holds.
    """
    measured = outcome.peak_memory_gib
    if measured is None:
        raise RunFailed("the trainer's telemetry told no memory, so there is nothing to compare with")
    if plan.on_cpu:
        empty = predicted.breakdown_gib["process"] + measured - predicted.peak_gib
        return Correction(context_gib=round(max(0.0, empty), 3))
    job = replace(memory_request(plan.to_dict(), request), equal_rows=True)
    context = None
    if alone and outcome.device_gib is not None:
        outside = paged_state(job)  # of the allocator, and no context either
        outside += cuda_context(replace(job, correction=Correction(context_gib=0.0)))  # estimates add it by themselves
        context = round(max(0.0, outcome.device_gib - measured - outside), 3)
    return _solved(job, Correction(context_gib=context), measured)


def _solved(job: MemoryRequest, correction: Correction, measured_gib: float) -> Correction:
    """``correction`` with the ratio of activations at which ``job`` is estimated to reserve what was measured.

    Found by halving, since not all that the allocator holds grows with the ratio: weights and workspaces do not, holes
    do in part. The estimate never falls with it. Within what is plausible.
    """
    low, high = PLAUSIBLE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = estimate_memory(replace(job, correction=replace(correction, activations=middle)))
        low, high = (middle, high) if tried.reserved_gib < measured_gib else (low, middle)
    return replace(correction, activations=round((low + high) / 2, 4))


def _speed_correction(predicted: float | None, measured: float | None) -> float:
    if predicted is None or measured is None:
        return 1.0
    return round(min(max(measured / predicted, PLAUSIBLE[0]), PLAUSIBLE[1]), 4)
