"""What the catalog holds: cards, models, recipes, presets. Plain data; `launcher.catalog.load` reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from launcher.catalog.capability import has_bfloat16


@dataclass(frozen=True)
class Price:
    """What an hour of one card costs. ``source`` names the offer, ``date`` (ISO day or month) when it was read."""

    usd_per_hour: float
    source: str
    date: str


@dataclass(frozen=True)
class Gpu:
    """One card, or the CPU. Memory in GiB, bandwidth in GB/s (10^9), rate in dense 16-bit TFLOP/s (10^12)."""

    name: str
    title: str
    kind: Literal["cuda", "cpu"]
    vram_gib: float  # what nvidia-smi shows as total
    usable_gib: float  # what CUDA shows as total: one process can fill this much, its CUDA context included
    compute_capability: float  # 8.6; 0 for a CPU
    tflops_16bit: float | None  # None: not known, so no speed or cost is predicted
    bandwidth_gbs: float | None
    compute_dtype: Literal["float16", "bfloat16", "float32"]  # the house rule's dtype for this card
    match: tuple[str, ...]  # device names, as the driver gives them, or the beginnings of such names
    prices: tuple[Price, ...] = ()
    rate_share: float = 1.0  # of tflops_16bit, what a plain 16-bit matrix product reaches
    speed_checked: bool = False  # the predicted speed was held against a measured or published run on it
    is_budget: bool = False  # a share of a larger card's memory, held there by a cap; no card of its own
    note: str = ""

    @property
    def supports_bf16(self) -> bool:
        """Whether it multiplies bf16 at the fp16 rate."""
        return has_bfloat16(self.compute_capability, is_cpu=self.kind == "cpu")

    def matches(self, device_name: str) -> bool:
        """Whether the driver's name of a device is this card's: an L40S is no L4, a laptop's 4090 no desktop's."""
        return any(re.search(rf"{re.escape(known)}(?!\w| Laptop)", device_name, re.IGNORECASE) for known in self.match)


@dataclass(frozen=True)
class Stored:
    """A base whose linear layers are stored in 4 bit, as bitsandbytes packed them; training cannot choose these.

    ``dtype`` is what they dequantise to, whatever the compute dtype: the dtype they were quantised from. None: unknown.
    """

    quant_type: Literal["nf4", "fp4"]
    double_quant: bool
    dtype: Literal["float16", "bfloat16", "float32"] | None

    def __str__(self) -> str:
        return self.quant_type.upper() + (f", from {self.dtype}" if self.dtype else "")


@dataclass(frozen=True)
class Model:
    """A base model's architecture: enough to size a run without a download.

    ``parameters`` counts weights, shared ones once; `launcher.catalog.architecture.count_parameters` gives the same.
    Sizes are numbers of elements.
    """

    name: str
    title: str
    base_model: str  # hub name, local folder, or "builtin:<folder under presets/models>"; see `resolve_base`
    size: str  # "7b"
    model_type: str  # transformers' model_type
    parameters: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    attention_bias: bool
    chat_template: str
    license: str
    gated: bool
    num_experts: int = 0  # 0: a dense model
    num_experts_per_token: int = 0
    linear_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    stored: Stored | None = None  # None: in 16 or 32 bit
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """Named settings: how a method is trained, whatever the card."""

    name: str
    title: str
    settings: dict[str, object] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A card, a model and a recipe under one name, with the settings that this pair fixes."""

    name: str
    title: str
    gpu: str
    model: str
    recipe: str
    settings: dict[str, object] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
