"""Peak memory of a QLoRA or LoRA job, term by term, without torch.

Each term is a function with its formula, unit and source. The residuals against real runs are a test:
tests/sizing/test_memory.py.
"""

from __future__ import annotations

import math

from launcher.catalog.architecture import (
    embedding_parameters,
    expert_parameters,
    linear_layers,
    linear_parameters,
    lora_parameters,
    vector_parameters,
)
from launcher.sizing.request import GIB, MemoryEstimate, MemoryRequest, budget

# CUDA context, cuBLAS and cuDNN workspaces of one process: nvidia-smi showed 0.55 to 0.9 GiB above reserved memory on
# an H200 (driver 580), 0.08 of them paged optimizer state. Smaller cards need less, so this errs on the safe side.
CUDA_CONTEXT_GIB = 0.8
# Resident memory of a trainer process that has imported everything and holds a tiny model: Axolotl 0.19 on a CPU.
PROCESS_GIB = 0.8
# Activations that a decoder layer saves for its backward pass, in bytes per token: this many per element of the hidden
# state (norms in fp32, queries, keys, values, the inputs of seven LoRA branches), fitted to Llama-2-7B LoRA without
# checkpointing on an H200 (28.6 GiB on the device) ...
LAYER_BYTES_PER_HIDDEN = 34
# ... and this many per element of the feed-forward width: gate, up, activated gate and their product, 2 bytes each.
LAYER_BYTES_PER_INTERMEDIATE = 8
# A 4-bit weight: 4 bit, an 8-bit scale for each block of 64, a 32-bit one for each 256 of those (Dettmers et al. 2023);
# without double quantisation one 32-bit scale for each block.
BITS_DOUBLE_QUANT = 4 + 8 / 64 + 32 / (64 * 256)
BITS_SINGLE_QUANT = 4 + 32 / 64

# Optimizer state in bytes per trained weight, and whether it is paged (in managed memory, outside torch's allocator).
# 8-bit states: two bytes, and an fp32 scale per block of 256 for each of the two moments.
OPTIMIZER_BYTES: dict[str, tuple[float, bool]] = {
    "paged_adamw_8bit": (2 + 2 * 4 / 256, True),
    "adamw_bnb_8bit": (2 + 2 * 4 / 256, False),
    "paged_adamw_32bit": (8, True),
    "adamw_torch": (8, False),
    "adamw_torch_fused": (8, False),
}


def quantized_weights(request: MemoryRequest) -> float:
    """GiB of the linear layers. qlora: 4.127 bit per weight with double quantisation, 4.5 without; lora: 16 bit."""
    if request.method == "lora":
        bits = 32.0 if request.on_cpu else 16.0
    else:
        bits = BITS_DOUBLE_QUANT if request.double_quant else BITS_SINGLE_QUANT
    return linear_parameters(request.model) * bits / 8 / GIB


def plain_weights(request: MemoryRequest) -> float:
    """GiB of what is never quantised: embeddings, head, norms, biases, experts; 2 bytes each, 4 where compute is fp32.

    Axolotl upcasts embeddings and head to fp32 while it loads, and casts them back before training (loaders/model.py).
    The experts of a Mixture-of-Experts are no linear layers in transformers 5, so bitsandbytes passes them by.
    """
    model = request.model
    count = embedding_parameters(model) + vector_parameters(model) + expert_parameters(model)
    return count * (4 if request.compute_dtype == "float32" else 2) / GIB


def adapter_weights(request: MemoryRequest) -> float:
    """GiB of the adapter: fp32 master weights and fp32 gradients, 8 bytes per weight."""
    return _trained(request) * 8 / GIB


def optimizer_state(request: MemoryRequest) -> float:
    """GiB of the optimizer's moments; see `OPTIMIZER_BYTES`."""
    return _trained(request) * OPTIMIZER_BYTES[request.optimizer][0] / GIB


def saved_activations(request: MemoryRequest) -> float:
    """GiB kept from the forward to the backward pass, over all layers.

    With checkpointing one hidden state per layer: layers * tokens * hidden * 2 bytes (4 in fp32), or two of them where
    they are offloaded to the host (one in use, one in transfer). Without, everything that each layer saves.
    """
    model = request.model
    if not request.gradient_checkpointing:
        return model.num_layers * layer_activations(request)
    layers = 2 if _offloads(request) else model.num_layers
    return layers * request.tokens * model.hidden_size * _width(request) / GIB


def layer_activations(request: MemoryRequest) -> float:
    """GiB that one layer saves for its backward pass; with checkpointing, what recomputing it brings back.

    tokens * (34 * hidden + 8 * intermediate) bytes in 16 bit; eager attention adds its matrix of scores,
    batch * heads * length^2, in 16 bit and in fp32. A Mixture-of-Experts computes several feed-forwards per token.
    """
    model = request.model
    feed_forward = model.intermediate_size * max(1, model.num_experts_per_token)
    per_token = LAYER_BYTES_PER_HIDDEN * model.hidden_size + LAYER_BYTES_PER_INTERMEDIATE * feed_forward
    total = request.tokens * per_token * _width(request) / 2
    if request.attn_implementation == "eager":
        total += request.tokens * request.sequence_len * model.num_attention_heads * 6
    return total / GIB


def dequantization(request: MemoryRequest) -> float:
    """GiB of the one weight that is held in 16 bit while it multiplies: the largest linear layer, 0 for lora."""
    if request.method == "lora":
        return 0.0
    return max(linear.parameters for linear in linear_layers(request.model)) * _width(request) / GIB


def loss_workspace(request: MemoryRequest, free_gib: float | None) -> float:
    """GiB of logits and their gradients at the loss's peak: tokens * vocabulary * bytes per logit of the trainer.

    Liger's fused loss works through chunks of 2^ceil(log2(tokens / ceil(vocabulary / hidden))) tokens, turns their
    logits into gradients in place, and keeps the hidden states' gradient (liger_kernel, fused_linear_cross_entropy).
    """
    model = request.model
    if "liger" in request.kernels:
        pieces = math.ceil(model.vocab_size / model.hidden_size)
        chunk = min(request.tokens, 1 << (math.ceil(request.tokens / pieces) - 1).bit_length())
        return (chunk * model.vocab_size + request.tokens * model.hidden_size) * _width(request) / GIB
    return _logits(request, request.tokens, request.trainer.loss_bytes_per_logit, free_gib)


def _logits(request: MemoryRequest, tokens: int, bytes_per_logit: float, free_gib: float | None) -> float:
    """GiB of the logits that are live at once; a trainer may split them by free memory (`TrainerMemory`)."""
    trainer = request.trainer
    whole = tokens * request.model.vocab_size / GIB
    chunks = 1
    if trainer.loss_chunk_gib is not None:
        target = trainer.loss_chunk_gib
        if free_gib is not None:
            target = min(target, max(free_gib / 2, 0.05))
        ratio = whole * trainer.loss_chunk_bytes_per_logit / target
        chunks = 1 if ratio <= 1 else math.ceil(ratio / 4) * 4
    return whole * bytes_per_logit / chunks


def estimate_memory(request: MemoryRequest) -> MemoryEstimate:
    """The peak of one job.

    Static memory (weights, adapter, gradients) and saved activations are there throughout; on top comes the larger of
    the loss's workspace and one layer's recomputation, which do not meet. What is allocated and freed in each step
    fragments (`TrainerMemory.fragmentation`); what stays does not.
    """
    paged = OPTIMIZER_BYTES[request.optimizer][1] and not request.on_cpu
    context = PROCESS_GIB if request.on_cpu else CUDA_CONTEXT_GIB
    state = optimizer_state(request)
    static = quantized_weights(request) + plain_weights(request) + adapter_weights(request) + (0.0 if paged else state)
    free = None if request.usable_gib is None else request.usable_gib - context - static

    saved = saved_activations(request)
    loss = loss_workspace(request, free)
    layer = dequantization(request) + (layer_activations(request) if request.gradient_checkpointing else 0.0)
    working = max(loss, layer)
    # Without checkpointing the saved activations are large, alike, and allocated in the same order each step.
    fragments = request.trainer.fragmentation * (working + (saved if request.gradient_checkpointing else 0.0))
    allocated = static + saved + working
    outside = context + (state if paged else 0.0)

    breakdown = {
        "quantized_weights" if request.method == "qlora" else "base_weights": quantized_weights(request),
        "embeddings_norms": plain_weights(request),
        "adapter_gradients": adapter_weights(request),
        "optimizer_state": state,
        "saved_activations": saved,
        "logits_loss" if loss >= layer else "layer_recompute": working,
        "fragmentation": fragments,
        "process" if request.on_cpu else "cuda_context": context,
    }
    evaluating = evaluation_workspace(request, free)
    return MemoryEstimate(
        peak_gib=allocated + fragments + outside,
        allocated_gib=allocated + (context if request.on_cpu else 0.0),
        reserved_gib=allocated + fragments,
        evaluation_gib=static + outside + evaluating * (1 + request.trainer.fragmentation),
        host_gib=host_memory(request),
        breakdown_gib=breakdown,
        budget_gib=None if request.usable_gib is None else budget(request.usable_gib),
    )


def evaluation_workspace(request: MemoryRequest, free_gib: float | None) -> float:
    """GiB at work while evaluating: one layer's forward pass, or the logits of a batch.

    Nothing is saved for a backward pass: a layer's widest tensors are about a third of what training saves of it.
    """
    rows = request.eval_batch_size / request.micro_batch_size
    layer = dequantization(request) + layer_activations(request) * rows / 3
    tokens = request.eval_batch_size * request.sequence_len
    return max(layer, _logits(request, tokens, request.trainer.eval_bytes_per_logit, free_gib))


def host_memory(request: MemoryRequest) -> float:
    """GiB of host memory: the process, one shard of up to 5 GB of the checkpoint at a time, offloaded activations.

    On a CPU everything is host memory, so this repeats the process alone.
    """
    if request.on_cpu:
        return PROCESS_GIB
    total = PROCESS_GIB + 2.0 + min(5e9, request.model.parameters * 2) / GIB  # 2 GiB: CUDA libraries, pinned buffers
    if request.gradient_checkpointing and _offloads(request):
        total += request.model.num_layers * request.tokens * request.model.hidden_size * 2 / GIB
    return total


def _trained(request: MemoryRequest) -> int:
    return lora_parameters(request.model, request.lora_r, request.lora_target_modules)


def _offloads(request: MemoryRequest) -> bool:
    return not request.on_cpu and (request.activation_offload or request.trainer.offloads_checkpoints)


def _width(request: MemoryRequest) -> int:
    """Bytes of one activation."""
    return 4 if request.compute_dtype == "float32" else 2
