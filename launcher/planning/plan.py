"""The plan: every number of a run, each with its reason. Plain data; `launcher.planning.decide` makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from launcher.data.facts import DataFacts as DataFacts
from launcher.records.decision import Decision, Source

Method = Literal["qlora", "lora"]
Dtype = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class Plan:
    """Every decision of a run. Field names are the keys of ``--set`` and of a preset's ``settings``.

    Sizes are in tokens (``sequence_len``) or rows (batches); fractions are of 1.
    """

    # identity: what the person asked for
    preset: str | None
    gpu: str
    model: str
    base_model: str
    model_type: str
    # settings: each may be set by a recipe, a preset, or --set
    backend: str  # the trainer's name
    method: Method
    compute_dtype: Dtype
    quant_type: Literal["nf4", "fp4"] | None
    double_quant: bool
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_target_modules: tuple[str, ...]
    sequence_len: int
    excess_length: Literal["truncate", "drop", "raise"]
    packing: bool
    effective_batch_size: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    eval_batch_size: int
    num_epochs: float
    max_steps: int | None
    learning_rate: float
    lr_scheduler: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    optimizer: str
    eval_fraction: float
    evals_per_epoch: int
    keep: Literal["best", "last"]
    logging_steps: int
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"]
    gradient_checkpointing: bool
    activation_offload: bool
    kernels: tuple[str, ...]
    chat_template: str
    seed: int
    # facts that the config needs and nobody sets
    on_cpu: bool = False
    eval_rows: int | None = None
    conversational: bool = True
    decisions: dict[str, Decision] = field(default_factory=dict)
    # of what the person fixed: what would have been decided without them; without those that only the solver chooses
    instead: dict[str, Decision] = field(default_factory=dict, compare=False, repr=False)

    @property
    def eval_interval(self) -> float:
        """Evaluate and save every this fraction of all optimizer steps (both trainers read a float below 1 so).

        Rounded down: the trainers multiply by the number of steps and round up, so a fraction that is a hair too large
        would cost the last evaluation. Never 1 or more, which they would read as a number of steps.
        """
        epochs = 1.0 if self.max_steps else self.num_epochs
        return min(math.floor(1e6 / (self.evals_per_epoch * epochs)) / 1e6, 0.999999)

    @property
    def evaluates(self) -> bool:
        """Whether rows are held out, so that there is something to evaluate on."""
        return self.eval_fraction > 0 and self.eval_rows != 0

    @property
    def keeps_best(self) -> bool:
        """Whether the checkpoint with the lowest evaluation loss is the result, not the last."""
        return self.evaluates and self.keep == "best"

    @property
    def reasons(self) -> dict[str, str]:
        """Why each setting is what it is, for a person."""
        return {key: decision.reason for key, decision in self.decisions.items()}

    @property
    def sources(self) -> dict[str, Source]:
        """Who decided each setting."""
        return {key: decision.source for key, decision in self.decisions.items()}

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready data, in the order of the fields, then why; ``instead`` is no part of it."""
        out = {name: getattr(self, name) for name in RECORDED}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in out.items()}
        return {**plain, "reasons": self.reasons}

    def record(self) -> dict[str, Any]:
        """The plan as run.json keeps it: with who decided each setting."""
        return {**self.to_dict(), "sources": self.sources}


IDENTITY = ("preset", "gpu", "model", "base_model", "model_type")
FACTS = ("on_cpu", "eval_rows", "conversational", "decisions")
RECORDED = tuple(f.name for f in fields(Plan) if f.name not in ("decisions", "instead"))
WHOLE = tuple(f.name for f in fields(Plan) if f.type in ("int", "int | None"))  # settings that count something
SETTINGS: tuple[str, ...] = tuple(name for name in RECORDED if name not in IDENTITY + FACTS)
# What the solver chooses together, so that nobody knows what one of them would have been without another plan.
SOLVED = (
    "sequence_len", "packing", "effective_batch_size", "micro_batch_size", "gradient_accumulation_steps",
    "eval_batch_size", "gradient_checkpointing", "activation_offload", "kernels",
)  # fmt: skip
