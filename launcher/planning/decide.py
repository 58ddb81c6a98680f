"""Make the plan: each value decided once, in an order in which nothing looks at what is decided later."""

from __future__ import annotations

from dataclasses import replace

from launcher.catalog import Gpu, Stored
from launcher.catalog.architecture import module_names
from launcher.errors import BadInput, Problem
from launcher.planning.choose import choose_backend, choose_method
from launcher.planning.length import lengths_to_try
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.planning.settings import Layers
from launcher.planning.shape import decide_shape
from launcher.records.decision import Decision
from launcher.trainers import Trainer, default_trainer, get_trainer


def make_plan(request: Request) -> Plan:
    """Decide every value of a run. Pure: the same request gives the same plan.

    Raises BadInput, with every problem found, when what the person set cannot go together or cannot be trained.
    """
    if request.auto_method:
        return choose_method(request, _of_method)
    return _of_method(request, method_of(request))


def method_of(request: Request) -> Decision:
    """The method where it is not to be chosen; its reason is what it would be without the person."""
    if request.preset:
        method = Decision(request.preset.recipe, "preset", "the preset's recipe")
    else:
        method = Decision("qlora", "planner", "the house default: it fits most cards")
    return replace(method, value=request.overrides.get("method") or method.value)


def _of_method(request: Request, method: Decision) -> Plan:
    """The method is settled before the trainer: a faster trainer must not decide which weights are trained on."""
    if request.auto_backend:
        return choose_backend(request, lambda asked: _plan(asked, method))
    return _plan(request, method)


def _plan(request: Request, method: Decision) -> Plan:
    layers = Layers(request, method)
    problems: list[Problem] = []
    backend = layers.decide(
        "backend", default_trainer().name, "the default trainer; --backend auto takes the faster one that fits"
    )
    trainer = get_trainer(backend)
    _decide_dtype(request, layers, problems)
    _decide_quantisation(request, layers, problems)
    layers.decide(
        "lora_target_modules", request.model.linear_modules, "every linear layer: the recipe needs all of them"
    )
    _check_targets(request, layers, problems)
    lengths = lengths_to_try(request, layers, problems)
    layers.decide(
        "excess_length",
        "truncate",
        "a long row loses its end, which is said, rather than being dropped in silence",
    )
    _decide_trainer_choices(request, layers, trainer)
    _decide_rest(request, layers)
    _decide_cpu(request, layers)
    decide_shape(request, layers, trainer, lengths, problems)
    problems += trainer.refusals(layers.values, request.gpu, request.model.stored)
    if problems:
        raise BadInput(problems)
    return _assemble(request, layers)


def _decide_dtype(request: Request, layers: Layers, problems: list[Problem]) -> None:
    gpu, family = request.gpu, request.model.model_type
    evidence = request.overflow
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


def _decide_quantisation(request: Request, layers: Layers, problems: list[Problem]) -> None:
    stored = request.model.stored
    if stored:
        _as_stored(stored, layers, problems)
    elif layers["method"] == "lora":
        layers.force("quant_type", None, "lora keeps the base in 16 bit")
        layers.force("double_quant", False, "lora keeps the base in 16 bit")


def _as_stored(stored: Stored, layers: Layers, problems: list[Problem]) -> None:
    """Nobody can choose how a base is quantised that is on disk in 4 bit: both trainers load it as it is."""
    if layers["method"] == "lora":
        said = f"the base is stored in {stored}, and lora trains on a base in 16 bit"
        problems.append(Problem(said, hint="--method qlora, or the base in 16 bit"))
    for key, value in (("quant_type", stored.quant_type), ("double_quant", stored.double_quant)):
        if layers.set_by_person(key) and layers[key] != value:
            problems.append(Problem(f"{key} {layers[key]}: the base is stored with {value}", hint=f"leave {key} out"))
        layers.force(key, value, "as the base is stored")


def _check_targets(request: Request, layers: Layers, problems: list[Problem]) -> None:
    """PEFT passes over a name that matches nothing as long as one matches: that layer would not be trained.

    It takes a name for the end of a layer's path; a pattern in a list is none to it.
    """
    known = module_names(request.model)
    absent = [name for name in layers["lora_target_modules"] if name not in known]
    if absent:
        said = f"lora_target_modules {', '.join(absent)}: {request.model.title} has no such layer"
        problems.append(Problem(said, hint="it has " + ", ".join(request.model.linear_modules)))


def _decide_trainer_choices(request: Request, layers: Layers, trainer: Trainer) -> None:
    gpu = request.gpu
    packing = layers.values.get("packing", False)  # what the solver may pack unasked needs no other attention
    attention, reason = trainer.attention(gpu, packing, layers["compute_dtype"])
    layers.decide("attn_implementation", attention, reason)
    kernels, reason = trainer.kernels(
        gpu, layers["method"], layers["compute_dtype"], layers["lora_dropout"], request.model.stored
    )
    layers.decide("kernels", kernels, reason)
    _decide_optimizer(gpu, layers, trainer)


def _decide_optimizer(gpu: Gpu, layers: Layers, trainer: Trainer) -> None:
    """The recipe's, or what the trainer can do of it on this card; whatever the person set."""
    by_person = layers.set_by_person("optimizer")
    wanted = layers.instead["optimizer"].value if by_person else layers["optimizer"]
    optimizer, reason = trainer.optimizer(gpu, wanted)
    if optimizer == wanted:
        return
    if by_person:
        layers.instead["optimizer"] = Decision(optimizer, "planner", reason)
    else:
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


def _assemble(request: Request, layers: Layers) -> Plan:
    data = request.data
    return Plan(
        **request.identity(),
        eval_rows=data.eval_rows if data else None,
        conversational=data.conversational if data else True,
        decisions=dict(layers.decisions),
        instead=layers.instead,
        **layers.values,
    )
