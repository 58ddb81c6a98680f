"""GPUs, models, recipes and presets: YAML files under presets/, each checked against its schema when read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Price:
    """What an hour of one card costs. ``source`` names the offer, ``date`` (ISO) when it was read."""

    usd_per_hour: float
    source: str
    date: str


@dataclass(frozen=True)
class Gpu:
    """One card, or the CPU. Memory in GiB, bandwidth in GB/s (10^9), rates in dense 16-bit TFLOP/s."""

    name: str
    title: str
    kind: Literal["cuda", "cpu"]
    vram_gib: float  # what the driver reports as total
    usable_gib: float  # what a trainer can get: total less what driver and context keep
    compute_capability: float  # 8.6; 0 for a CPU
    tflops_16bit: float
    bandwidth_gbs: float
    compute_dtype: str  # the house rule's dtype for this card
    match: tuple[str, ...]  # substrings of the driver's device name
    prices: tuple[Price, ...] = ()
    note: str = ""

    @property
    def supports_bf16(self) -> bool:
        """Compute capability 8.0 and newer multiply bf16 at the fp16 rate."""
        return self.kind == "cpu" or self.compute_capability >= 8.0


@dataclass(frozen=True)
class Model:
    """A base model's architecture: enough to size a run without a download. ``parameters`` counts weights."""

    name: str
    title: str
    base_model: str  # hub name or local folder
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
    num_experts: int = 0
    linear_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """Named settings: how a method is trained, whatever the card."""

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A card, a model and a recipe under one name, with the settings that this pair fixes."""

    name: str
    title: str
    gpu: str
    model: str
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
