"""What a trainer keeps of a forward pass, and what it holds at once while it goes back: each term in GiB.

A term is counted in 16-bit elements per token: so many times the hidden width, the width of the keys (which is that of
the values) and the feed-forward width. The counts come from traces of what was alive at the peak, of a Llama-3.1 8B cut
to four layers, and from differences between models (benchmarks/sizing, H200, torch 2.11): which tensor is behind each
is said beside it. They hold for Llama, Mistral and Qwen2, whose layers are alike, and with `qk_norms` for Qwen3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.catalog.architecture import QK_NORM, linear_layers
from launcher.sizing.request import GIB, MemoryRequest

MASK_BYTES = 3  # of a padded batch per pair of tokens of a row: one as bool, two in the compute dtype
EAGER_BYTES = 14  # per score of eager attention: 16-bit and fp32 scores, probabilities, and their gradients
# Hidden states on the device while the rest is on the host; two of Unsloth's are buffers that it keeps.
OFFLOADED_IN_FLIGHT = {"axolotl": 3, "unsloth": 4}
OFFLOAD_BUFFERS = {"axolotl": 0, "unsloth": 2}


@dataclass(frozen=True)
class Elements:
    """16-bit elements per token, as multiples of three widths."""

    hidden: float
    keys: float
    feed_forward: float


# Saved by one layer without checkpointing. Axolotl: the residual after attention and after the layer (2), queries and
# the attention's result (1 + 1.5), the norms (2 with Liger; 6 without: each in fp32 and in 16 bit, the residuals then
# in fewer copies); gate and up, and without the fused LoRA also their product, and without Liger the activated gate.
# Keys and values come on top (`_attention_keys`). Unsloth: as Axolotl fused, less the norms' results.
SAVED = {
    "fused": Elements(6.1, 0, 2),
    "liger": Elements(6.1, 0, 3),
    "stock": Elements(8.3, 0, 4),
    "unsloth": Elements(7.3, 2.1, 2),
}
# At work while one checkpointed layer goes back: what it saves, recomputed, and the gradients on the way.
RECOMPUTE = {
    "fused": Elements(7.1, 0, 3),
    "liger": Elements(4.9, 0, 5),
    "stock": Elements(8.9, 0, 6),
    "unsloth": Elements(8.2, 2.1, 6),
}
# At work in the backward pass of the last layer when nothing is recomputed, on top of what is saved.
BACKWARD = {
    "fused": Elements(0, 0, 1.5),
    "liger": Elements(0, 0, 2),
    "stock": Elements(0, 0, 2),
    "unsloth": Elements(0, 0, 4),
}
FORWARD = Elements(5, 0, 3)  # at work in one layer while evaluating
# 16-bit copies of its input that a norm keeps: one with Liger and in Unsloth; else it in fp32 too, as `SAVED` says.
NORM_COPIES = {"fused": 1, "liger": 1, "stock": 3, "unsloth": 1}


def flavour(request: MemoryRequest) -> str:
    """Whose code runs a layer: "unsloth", or Axolotl's "fused" (LoRA kernels and Liger), "liger" or "stock"."""
    if request.trainer.name == "unsloth":
        return "unsloth"
    if "liger" not in request.kernels:
        return "stock"
    return "fused" if "lora" in request.kernels else "liger"


def padded(request: MemoryRequest) -> bool:
    """Whether attention gets a mask: rows of different lengths in one batch. Unsloth takes the padding out instead."""
    if request.trainer.name == "unsloth" or request.packing or request.equal_rows:
        return False
    return request.micro_batch_size > 1


def saved(request: MemoryRequest) -> float:
    """GiB kept from the forward to the backward pass, over all layers.

    With checkpointing one hidden state per layer: layers * tokens * hidden * 2 bytes; or, where they are offloaded to
    the host, those in flight (`OFFLOADED_IN_FLIGHT`). Without it everything that each layer saves.
    """
    model = request.model
    if not request.gradient_checkpointing:
        layer = _gib(request, SAVED[flavour(request)]) + _attention_keys(request) + qk_norms(request)
        layer += scores(request) / 2
        dropout = request.tokens * model.hidden_size * 6 * _width(request) / GIB if request.lora_dropout else 0.0
        return model.num_layers * (layer + dropout)
    layers = OFFLOADED_IN_FLIGHT[request.trainer.name] if offloads(request) else model.num_layers
    return layers * request.tokens * model.hidden_size * _width(request) / GIB


def layer(request: MemoryRequest) -> float:
    """GiB at work while one layer goes back, on top of what is saved: `RECOMPUTE` or `BACKWARD`.

    Axolotl also holds the widest weight in 16 bit while it multiplies (`dequantization`) and the mask of a padded
    batch; eager attention its scores.
    """
    work = dequantization(request) + mask(request)
    if not request.gradient_checkpointing:
        return work + _gib(request, BACKWARD[flavour(request)])
    keys = _attention_keys(request, own=0) if flavour(request) == "fused" else 0.0
    return work + _gib(request, RECOMPUTE[flavour(request)]) + keys + qk_norms(request) + scores(request)


def qk_norms(request: MemoryRequest) -> float:
    """GiB that one layer's norms of queries and keys keep, in the families that have them (`QK_NORM`).

    tokens * (width of the queries + width of the keys) * `NORM_COPIES` * 2 bytes. Qwen3 8B, where this is 10,240 bytes
    per token and layer, took 10,050 to 11,070 more than the model said without this term (benchmarks/sizing, the blind
    test: Unsloth, and Axolotl with fused kernels, each with and without checkpointing). Not measured without Liger,
    where the count is that of the layer's other norms.
    """
    model = request.model
    if model.model_type not in QK_NORM:
        return 0.0
    width = (model.num_attention_heads + model.num_key_value_heads) * model.head_dim
    return request.tokens * width * NORM_COPIES[flavour(request)] * _width(request) / GIB


def offload_buffers(request: MemoryRequest) -> float:
    """GiB that stay on the device between steps for offloading: `OFFLOAD_BUFFERS` hidden states."""
    if not offloads(request) or not request.gradient_checkpointing:
        return 0.0
    states = OFFLOAD_BUFFERS[request.trainer.name]
    return states * request.tokens * request.model.hidden_size * _width(request) / GIB


def forward(request: MemoryRequest, tokens: int) -> float:
    """GiB at work in one layer while evaluating ``tokens`` tokens."""
    return dequantization(request) + _gib(request, FORWARD) * tokens / request.tokens


def dequantization(request: MemoryRequest) -> float:
    """GiB of the weight that is held in 16 bit while it multiplies: the largest linear layer; 0 for lora.

    Unsloth keeps one such buffer from the first step on: `launcher.sizing.memory.workspace`.
    """
    if request.method == "lora" or request.trainer.name == "unsloth":
        return 0.0
    return largest_weight(request) * _width(request) / GIB


def largest_weight(request: MemoryRequest) -> int:
    return max(linear.parameters for linear in linear_layers(request.model))


def mask(request: MemoryRequest) -> float:
    """GiB of a padded batch's attention mask: rows * length^2 * `MASK_BYTES`."""
    if not padded(request):
        return 0.0
    return request.tokens * request.sequence_len * MASK_BYTES / GIB


def scores(request: MemoryRequest) -> float:
    """GiB of eager attention's scores: rows * heads * length^2 * `EAGER_BYTES`; other attention never keeps them."""
    if request.attn_implementation != "eager":
        return 0.0
    return request.tokens * request.sequence_len * request.model.num_attention_heads * EAGER_BYTES / GIB


def loss(request: MemoryRequest, free_gib: float | None) -> float:
    """GiB of logits and their gradients at the loss's peak.

    Axolotl: tokens * vocabulary * 12 bytes (the log-softmax that is kept, its gradient and the upcast logits' one, in
    fp32) and the last norm's input in fp32, tokens * hidden * 4. Liger's fused loss works through chunks of
    2^ceil(log2(tokens / ceil(vocabulary / hidden))) tokens and keeps the hidden states' gradient (liger_kernel,
    fused_linear_cross_entropy). Unsloth's goes through chunks of an eighth of the tokens, at least 512 of them and at
    most min(2 GiB, half of the free memory) at 8 bytes per logit, of which 4 are there at once (unsloth_zoo,
    chunked_logprob): on no measured job was it the peak.
    """
    model, tokens = request.model, request.tokens
    if request.trainer.name == "unsloth":
        limit = 2.0 if free_gib is None else min(2.0, max(free_gib / 2, 0.05))
        rows = min(tokens, max(512, math.ceil(tokens / 8)), int(limit * GIB / model.vocab_size / 8))
        return rows * model.vocab_size * 4 / GIB
    if "liger" in request.kernels:
        pieces = math.ceil(model.vocab_size / model.hidden_size)
        chunk = min(tokens, 1 << (math.ceil(tokens / pieces) - 1).bit_length())
        return (chunk * model.vocab_size + tokens * model.hidden_size) * _width(request) / GIB
    return tokens * (model.vocab_size * request.trainer.loss_bytes_per_logit + model.hidden_size * 4) / GIB


def evaluation(request: MemoryRequest) -> float:
    """GiB at work while evaluating a batch of ``eval_batch_size`` rows of full length.

    Axolotl keeps the whole logits, with Liger too, in 16 bit, as fp32 copy and as fp32 result (10 bytes), and the last
    hidden state. Unsloth returns no logits but the keys and values of all layers, which accelerate copies to fp32:
    layers * 2 * width of the keys * 6 bytes per token; that is 12 KiB per token and 1,024 of key width for a 7B, and
    four times as much for Llama 2, which shares no keys.
    """
    model = request.model
    tokens = request.eval_batch_size * request.sequence_len
    work = forward(request, tokens)
    if request.trainer.name == "unsloth":
        cached = 2 * model.num_layers * model.num_key_value_heads * model.head_dim * tokens
        return max(cached * 6 / GIB, cached * 2 / GIB + work)
    logits = tokens * model.vocab_size * request.trainer.eval_bytes_per_logit
    return max(work, (logits + tokens * model.hidden_size * _width(request)) / GIB)


def offloads(request: MemoryRequest) -> bool:
    return not request.on_cpu and (request.activation_offload or request.trainer.offloads_checkpoints)


def _attention_keys(request: MemoryRequest, own: int = 1) -> float:
    """GiB of keys and values that one Axolotl layer keeps; ``own``: how many of them as they were before repeating.

    A padded batch needs a mask, for which PyTorch's kernel wants keys and values repeated to all heads; FlashAttention,
    which takes batches without one, reads them as they are.
    """
    if flavour(request) == "unsloth":
        return 0.0
    model = request.model
    keys = model.num_key_value_heads * model.head_dim
    queries = model.num_attention_heads * model.head_dim
    shared = keys < queries
    width = 2 * keys if not padded(request) else 2 * queries + (own * keys if shared else 0)
    return request.tokens * width * _width(request) / GIB


def _gib(request: MemoryRequest, elements: Elements) -> float:
    model = request.model
    per_token = (
        elements.hidden * model.hidden_size
        + elements.keys * model.num_key_value_heads * model.head_dim
        + elements.feed_forward * model.intermediate_size * max(1, model.num_experts_per_token)
    )
    return request.tokens * per_token * _width(request) / GIB


def _width(request: MemoryRequest) -> int:
    """Bytes of one activation."""
    return 4 if request.compute_dtype == "float32" else 2
