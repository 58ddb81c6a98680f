"""Make the plan: each value decided once, in an order in which nothing looks at what is decided later."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from launcher.errors import BadInput, Problem
from launcher.planning.estimate import estimate_plan_memory, memory_request
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.planning.settings import Layers
from launcher.sizing import MemoryEstimate, estimate_memory, solve_batch
from launcher.trainers import Trainer, get_trainer

DEFAULT_SEQUENCE_LEN = 2048
SEQUENCE_STEP = 64  # lengths are rounded up to this: tensor cores want multiples of 8, and odd lengths save nothing


def make_plan(request: Request) -> Plan:
    """Decide every value of a run. Pure: the same request gives the same plan.

    Raises BadInput, with every problem found, when what the person set cannot go together or cannot be trained.
    """
    if request.auto_method:
        return _choose_method(request)
    fixed = request.overrides.get("method") or (request.preset.recipe if request.preset else "qlora")
    return _plan(request, fixed, "the preset's recipe" if request.preset else "the house default: it fits most cards")


def _choose_method(request: Request) -> Plan:
    """The house rule: LoRA on 16-bit weights where it fits the card, QLoRA where it would not."""
    plan = _plan(request, "lora", "it fits: 16-bit weights are faster than 4-bit ones and lose nothing")
    estimate = estimate_plan_memory(plan, request)
    if estimate.fits:
        return plan
    needed, budget = estimate.needed_gib, estimate.budget_gib
    reason = f"16-bit LoRA would need {needed:.1f} GiB of {budget:.1f} GiB: 4-bit weights are what fits"
    return _plan(request, "qlora", reason)


def _plan(request: Request, method: str, method_reason: str) -> Plan:
    layers = Layers(request, method, method_reason)
    problems: list[Problem] = []
    backend = layers.decide("backend", "axolotl", "the default trainer; --backend unsloth is the other")
    trainer = get_trainer(backend)
    _decide_dtype(request, layers, problems)
    _decide_quantisation(layers)
    layers.decide(
        "lora_target_modules", request.model.linear_modules, "every linear layer: the recipe needs all of them"
    )
    _decide_length(request, layers, problems)
    _decide_trainer_choices(request, layers, trainer)
    _decide_rest(request, layers)
    _decide_cpu(request, layers)
    _decide_batch(request, layers, problems)
    problems += trainer.refusals(layers.values, request.gpu)
    if problems:
        raise BadInput(problems)
    return _assemble(request, layers)


def _decide_dtype(request: Request, layers: Layers, problems: list[Problem]) -> None:
    gpu, family = request.gpu, request.model.model_type
    evidence = request.overflow_families.get(family)
    if evidence and gpu.compute_dtype == "float16":
        if gpu.supports_bf16:
            layers.decide("compute_dtype", "bfloat16", f"{family} overflows float16: {evidence}")
        elif not layers.fixed("compute_dtype"):
            problems.append(
                Problem(
                    f"{family} overflows float16 and {gpu.title} has no bfloat16: {evidence}",
                    hint="choose another model or card; --compute-dtype float16 insists",
                )
            )
    reason = {
        "float32": "a CPU trains in float32: its 16-bit arithmetic is slower",
        "float16": f"house rule: float16 on {gpu.title}; the run watches for overflow",
        "bfloat16": f"house rule: bfloat16 on {gpu.title}: float32's range at 16-bit speed",
    }[gpu.compute_dtype]
    dtype = layers.decide("compute_dtype", gpu.compute_dtype, reason)
    if dtype == "bfloat16" and not gpu.supports_bf16:
        problems.append(Problem(f"{gpu.title} has no bfloat16", hint="--compute-dtype float16"))
    if gpu.kind == "cpu" and dtype != "float32":
        problems.append(Problem(f"compute_dtype {dtype} on a CPU", hint="a CPU trains in float32"))


def _decide_quantisation(layers: Layers) -> None:
    if layers["method"] == "lora":
        layers.force("quant_type", None, "lora keeps the base in 16 bit")
        layers.force("double_quant", False, "lora keeps the base in 16 bit")


def _decide_length(request: Request, layers: Layers, problems: list[Problem]) -> None:
    limit = request.model.max_position_embeddings
    data = request.data
    if data and data.exact and data.tokens_max <= DEFAULT_SEQUENCE_LEN:
        length = min(max(math.ceil(data.tokens_max / SEQUENCE_STEP) * SEQUENCE_STEP, SEQUENCE_STEP), limit)
        reason = f"the longest row has {data.tokens_max} tokens: nothing is cut"
    else:
        length = min(DEFAULT_SEQUENCE_LEN, limit)
        reason = "holds most instruction data; set it for longer rows" if length < limit else "the model's own limit"
    length = layers.decide("sequence_len", length, reason)
    if length > limit:
        problems.append(
            Problem(f"sequence_len {length} is over the {limit} tokens that {request.model.title} can read")
        )
    layers.decide(
        "excess_length",
        "truncate",
        "a long row loses its end, which is said, rather than being dropped in silence",
    )


def _decide_trainer_choices(request: Request, layers: Layers, trainer: Trainer) -> None:
    gpu = request.gpu
    packing, reason = trainer.packing(gpu)
    layers.decide("packing", packing, reason)
    attention, reason = trainer.attention(gpu, layers["packing"])
    layers.decide("attn_implementation", attention, reason)
    kernels, reason = trainer.kernels(gpu, layers["method"], layers["compute_dtype"], layers["lora_dropout"])
    layers.decide("kernels", kernels, reason)
    if not layers.set_by_person("optimizer"):
        optimizer, reason = trainer.optimizer(gpu, layers["optimizer"])
        if optimizer != layers["optimizer"]:
            layers.force("optimizer", optimizer, reason)


def _decide_rest(request: Request, layers: Layers) -> None:
    layers.decide("max_steps", None, "the epochs decide")
    layers.decide(
        "chat_template", request.model.chat_template, "ends a turn with a token that this base was trained on"
    )
    if request.data and request.data.eval_rows == 0:
        layers.force("keep", "last", "no evaluation rows, so no best checkpoint")
    elif layers["eval_fraction"] == 0:
        layers.force("keep", "last", "eval_fraction is 0, so there is no evaluation loss")


def _decide_cpu(request: Request, layers: Layers) -> None:
    if request.gpu.kind == "cpu":
        layers.decide("gradient_checkpointing", False, "host memory holds the activations: recomputing would cost time")
        layers.decide("activation_offload", False, "they are in host memory already")


def _decide_batch(request: Request, layers: Layers, problems: list[Problem]) -> None:
    """Micro-batch and accumulation for the effective batch; checkpointing and offload where memory asks for them."""
    effective = layers["effective_batch_size"]
    micro, steps = layers.values.get("micro_batch_size"), layers.values.get("gradient_accumulation_steps")
    if micro and steps and micro * steps != effective:
        if layers.set_by_person("effective_batch_size"):
            problems.append(
                Problem(
                    f"micro_batch_size {micro} times gradient_accumulation_steps {steps} is {micro * steps}, "
                    f"not the effective_batch_size {effective}",
                    hint="set two of the three",
                )
            )
        effective = micro * steps
        layers.force("effective_batch_size", effective, "micro_batch_size times gradient_accumulation_steps")
    elif micro or steps:
        given, name = (micro, "micro_batch_size") if micro else (steps, "gradient_accumulation_steps")
        if effective % given:
            problems.append(
                Problem(
                    f"{name} {given} does not divide the effective batch of {effective}",
                    hint=f"divisors: {', '.join(str(n) for n in range(1, effective + 1) if effective % n == 0)}",
                )
            )
            return
        micro, steps = (given, effective // given) if name == "micro_batch_size" else (effective // given, given)

    def estimate(size: int, checkpointing: bool, offload: bool) -> MemoryEstimate:
        batch = {
            "micro_batch_size": size,
            "eval_batch_size": layers.values.get("eval_batch_size", size),
            "gradient_checkpointing": checkpointing,
            "activation_offload": offload,
        }
        return estimate_memory(memory_request(layers.values | batch, request))

    solution = solve_batch(
        effective,
        estimate,
        micro_batch=micro,
        checkpointing=layers.values.get("gradient_checkpointing"),
        offload=layers.values.get("activation_offload"),
    )
    size = layers.decide("micro_batch_size", solution.micro_batch_size, solution.reason)
    layers.decide(
        "gradient_accumulation_steps", effective // size, f"{effective // size} x {size} rows: the effective batch"
    )
    layers.decide("gradient_checkpointing", solution.gradient_checkpointing, solution.checkpointing_reason)
    layers.decide("activation_offload", solution.activation_offload, solution.offload_reason)
    layers.decide("eval_batch_size", solution.eval_batch_size, solution.eval_reason)


def _assemble(request: Request, layers: Layers) -> Plan:
    data = request.data
    values: dict[str, Any] = dict(layers.values)
    plan = Plan(
        preset=request.preset.name if request.preset else None,
        gpu=request.gpu.name,
        model=request.model.name,
        base_model=request.base_model,
        model_type=request.model.model_type,
        on_cpu=request.gpu.kind == "cpu",
        eval_rows=data.eval_rows if data else None,
        conversational=data.conversational if data else True,
        reasons=layers.reasons,
        **values,
    )
    return replace(plan, reasons={key: layers.reasons[key] for key in values})
