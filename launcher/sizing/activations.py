"""What a trainer keeps of a forward pass, and what it holds at once while it goes back: each term in GiB.

A term is counted in 16-bit elements per token: so many times the hidden width, the width of the keys (which is that of
the values) and the feed-forward width. The counts are the trainer's (`launcher.sizing.terms`); what is made of them
here is the same for all. They hold for Llama, Mistral and Qwen2, whose layers are alike, and with `qk_norms` for Qwen3.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.catalog.architecture import linear_layers, norms_queries_and_keys
from launcher.sizing.request import GIB, MemoryRequest

MASK_BYTES = 3  # of a padded batch per pair of tokens of a row: one as bool, two in the compute dtype
EAGER_BYTES = 14  # per score of eager attention: 16-bit and fp32 scores, probabilities, and their gradients


@dataclass(frozen=True)
class Elements:
    """16-bit elements per token, as multiples of three widths."""

    hidden: float
    keys: float
    feed_forward: float


@dataclass(frozen=True)
class LayerTerms:
    """One decoder layer, as the code that runs it keeps and uses memory.

    ``saved`` is what it keeps without checkpointing. ``recompute`` is at work while one checkpointed layer goes back:
    what it saves, recomputed, and the gradients on the way; ``backward`` is at work in the last layer when nothing is
    recomputed, on top of what is saved; ``forward`` while evaluating. ``norm_copies`` are the 16-bit copies of its
    input that a norm keeps. ``keys_saved`` and ``keys_recomputed``: whether keys and values come on top of ``saved``
    and of ``recompute``, as wide as attention wants them (`attention_keys`), rather than being counted in them.
    """

    saved: Elements
    recompute: Elements
    backward: Elements
    norm_copies: int
    keys_saved: bool = True
    keys_recomputed: bool = False
    forward: Elements = Elements(5, 0, 3)


def saved(request: MemoryRequest) -> float:
    """GiB kept from the forward to the backward pass, over all layers.

    With checkpointing one hidden state per layer: layers * tokens * hidden * 2 bytes; or, where they are offloaded to
    the host, those in flight. Without it everything that each layer saves.
    """
    model, terms = request.model, request.trainer.memory
    if not request.gradient_checkpointing:
        one = terms.layer(request)
        keys = attention_keys(request) if one.keys_saved else 0.0
        layer = elements_gib(request, one.saved) + keys + qk_norms(request)
        layer += scores(request) / 2
        dropped = 6 if request.lora_dropout else 0
        dropout = request.tokens * model.hidden_size * dropped * activation_bytes(request) / GIB
        return model.num_layers * (layer + dropout)
    layers = terms.offloaded_in_flight if offloads(request) else model.num_layers
    return layers * request.tokens * model.hidden_size * activation_bytes(request) / GIB


def layer(request: MemoryRequest) -> float:
    """GiB at work while one layer goes back, on top of what is saved: `LayerTerms.recompute` or ``backward``.

    With it a weight in 16 bit while it multiplies, the mask of a padded batch, and eager attention's scores.
    """
    terms = request.trainer.memory
    one = terms.layer(request)
    work = terms.dequantization(request) + mask(request)
    if not request.gradient_checkpointing:
        return work + elements_gib(request, one.backward)
    keys = attention_keys(request, own=0) if one.keys_recomputed else 0.0
    return work + elements_gib(request, one.recompute) + keys + qk_norms(request) + scores(request)


def qk_norms(request: MemoryRequest) -> float:
    """GiB that one layer's norms of queries and keys keep, in the families that have them.

    tokens * (width of the queries + width of the keys) * `LayerTerms.norm_copies` * 2 bytes. Qwen3 8B, where this is
    10,240 bytes per token and layer, took 10,050 to 11,070 more than the model said without this term
    (benchmarks/sizing, the blind test: two trainers with fused kernels, each with and without checkpointing). Not
    measured without Liger, where the count is that of the layer's other norms.
    """
    model = request.model
    if not norms_queries_and_keys(model):
        return 0.0
    width = (model.num_attention_heads + model.num_key_value_heads) * model.head_dim
    copies = request.trainer.memory.layer(request).norm_copies
    return request.tokens * width * copies * activation_bytes(request) / GIB


def offload_buffers(request: MemoryRequest) -> float:
    """GiB that stay on the device between steps for offloading: so many hidden states."""
    if not offloads(request) or not request.gradient_checkpointing:
        return 0.0
    states = request.trainer.memory.offload_buffers
    return states * request.tokens * request.model.hidden_size * activation_bytes(request) / GIB


def forward(request: MemoryRequest, tokens: int) -> float:
    """GiB at work in one layer while evaluating ``tokens`` tokens."""
    terms = request.trainer.memory
    work = elements_gib(request, terms.layer(request).forward)
    return terms.dequantization(request) + work * tokens / request.tokens


def largest_weight(request: MemoryRequest) -> int:
    """Elements of the largest linear layer."""
    return max(linear.parameters for linear in linear_layers(request.model))


def mask(request: MemoryRequest) -> float:
    """GiB of a padded batch's attention mask: rows * length^2 * `MASK_BYTES`."""
    if not request.trainer.memory.masks(request):
        return 0.0
    return request.tokens * request.sequence_len * MASK_BYTES / GIB


def scores(request: MemoryRequest) -> float:
    """GiB of eager attention's scores: rows * heads * length^2 * `EAGER_BYTES`; other attention never keeps them."""
    if request.attn_implementation != "eager":
        return 0.0
    return request.tokens * request.sequence_len * request.model.num_attention_heads * EAGER_BYTES / GIB


def offloads(request: MemoryRequest) -> bool:
    """Whether checkpointed activations go to host memory; on a CPU they are there."""
    return not request.on_cpu and request.activation_offload


def attention_keys(request: MemoryRequest, own: int = 1) -> float:
    """GiB of keys and values that one layer keeps; ``own``: how many of them as they were before repeating.

    A padded batch needs a mask, for which PyTorch's kernel wants keys and values repeated to all heads; FlashAttention,
    which takes batches without one, reads them as they are.
    """
    model = request.model
    keys = model.num_key_value_heads * model.head_dim
    queries = model.num_attention_heads * model.head_dim
    shared = keys < queries
    width = 2 * queries + (own * keys if shared else 0) if request.trainer.memory.masks(request) else 2 * keys
    return request.tokens * width * activation_bytes(request) / GIB


def elements_gib(request: MemoryRequest, elements: Elements) -> float:
    """GiB of so many elements for each token of a micro-batch."""
    model = request.model
    per_token = (
        elements.hidden * model.hidden_size
        + elements.keys * model.num_key_value_heads * model.head_dim
        + elements.feed_forward * model.intermediate_size * max(1, model.num_experts_per_token)
    )
    return request.tokens * per_token * activation_bytes(request) / GIB


def activation_bytes(request: MemoryRequest) -> int:
    """Bytes of one activation."""
    return 4 if request.compute_dtype == "float32" else 2
