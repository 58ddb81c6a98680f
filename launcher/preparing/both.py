"""QLoRA and LoRA on the same job: the same hyperparameters, data, seed and gates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.errors import BadInput, Problem, Unreadable
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.preparing.asked import Asked
from launcher.preparing.prepare import prepare
from launcher.preparing.prepared import Prepared

# What makes the methods differ, and how each fits the card. Everything else of the plan is the same for both.
OWN = frozenset(
    {
        "method", "quant_type", "double_quant", "micro_batch_size", "gradient_accumulation_steps", "eval_batch_size",
        "gradient_checkpointing", "activation_offload", "kernels", "backend",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Both:
    """The two runs of one job, ready to start."""

    asked: Asked
    qlora: Prepared
    lora: Prepared

    def asked_for(self, method: str) -> Asked:
        """What one of the two is planned from again, should it be stopped before its data is written."""
        if method != "lora":
            return replace(self.asked, method=method)
        given = {key: value for key, value in self.asked.settings.items() if key not in ("quant_type", "double_quant")}
        return replace(self.asked, method=method, settings={**given, **shared_values(self.qlora.plan)})

    @property
    def each(self) -> tuple[Prepared, Prepared]:
        return self.qlora, self.lora


def prepare_both(asked: Asked, *, usd_per_hour: float | None = None, merge: bool = True) -> Both:
    """Plan the job with QLoRA, then with LoRA on the same hyperparameters.

    Raises what `prepare` raises; BadInput, with the numbers, where the card holds QLoRA but not LoRA; and Unreadable
    for a config that was edited by hand: it is of one method.
    """
    if asked.config is not None or asked.data is None:
        raise Unreadable(
            "--method both plans both runs, and an edited config is of one method", hint="leave out --config"
        )
    request, data = replace(asked, method=None).request(), Path(asked.data)
    options: dict[str, Any] = {
        "golden": asked.golden_path,
        "gates": asked.gates,
        "allow_overlap": asked.allow_overlap,
        "usd_per_hour": usd_per_hour,
        "merge": merge,
        "read_as": asked.read_as,
    }
    qlora = prepare(_with_method(request, "qlora"), data, **options)
    try:
        lora = prepare(share(request, qlora.plan), data, inspected=qlora.inspected, **options)
    except BadInput as error:
        hint = "--method qlora is what this card can do; --method both needs a card that holds both"
        problems = [Problem(f"lora: {problem.message}", hint=hint) for problem in error.problems]
        raise BadInput(problems) from error
    return Both(asked, qlora, lora)


def shared_values(plan: Plan) -> dict[str, Any]:
    """The values of the QLoRA ``plan`` that are not the method's own."""
    values = plan.to_dict()
    return {key: values[key] for key in plan.decisions if key not in OWN and values[key] is not None}


def share(request: Request, plan: Plan) -> Request:
    """``request`` for LoRA, with every value of the QLoRA ``plan`` that is not the method's own."""
    preset = request.preset
    if preset is not None:  # what the preset fixes is in the QLoRA plan already, with the person's changes on top
        preset = replace(preset, settings={key: value for key, value in preset.settings.items() if key in OWN})
    return replace(_with_method(request, "lora"), pair=shared_values(plan), preset=preset)


def _with_method(request: Request, method: str) -> Request:
    return replace(request, overrides={**request.overrides, "method": method}, auto_method=False)
