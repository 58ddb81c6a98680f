"""Peak memory of a QLoRA or LoRA job, term by term, without torch.

What stays: each term is a function here, with its formula, unit and source. What comes and goes with a step:
`launcher.sizing.activations`. What a trainer does its own way: `launcher.sizing.terms`. The residuals against real runs
are in benchmarks/sizing/README.md, and tests/sizing/test_residuals.py holds them.
"""

from __future__ import annotations

from launcher.catalog.architecture import (
    embedding_parameters,
    expert_parameters,
    linear_layers,
    linear_parameters,
    lora_parameters,
    vector_parameters,
)
from launcher.sizing import activations
from launcher.sizing.activations import offloads
from launcher.sizing.request import GIB, MemoryEstimate, MemoryRequest, budget

# CUDA context and loaded kernels of one process: the driver showed 0.74 GiB above reserved memory on an H200 (driver
# 580) for every job, and 0.81 with offloading. A smaller card's is smaller, so this errs on the safe side.
CUDA_CONTEXT_GIB = 0.75
OFFLOAD_CONTEXT_GIB = 0.07
# Workspaces of cuBLAS and cuBLASLt on the device, 32 MiB each on Hopper; part of what the allocator holds.
WORKSPACE_GIB = 0.0645
# Resident memory of a trainer process that has imported everything and holds a tiny model, measured on a CPU.
PROCESS_GIB = 0.8
# A 4-bit weight: 4 bit, an 8-bit scale for each block of 64, a 32-bit one for each 256 of those (Dettmers et al. 2023);
# without double quantisation one 32-bit scale for each block.
BITS_DOUBLE_QUANT = 4 + 8 / 64 + 32 / (64 * 256)
BITS_SINGLE_QUANT = 4 + 32 / 64
# bitsandbytes pages the state of a tensor of at least so many elements; a smaller one's stays in the allocator
# (optim/optimizer.py, get_state_buffer). With r=16 most of a 7B's adapter tensors are smaller.
PAGED_FROM = 100_000

# Optimizer state in bytes per trained weight, and whether it is paged (in managed memory, outside torch's allocator).
# 8-bit states: two bytes, and an fp32 scale per block of 256 for each of the two moments.
OPTIMIZER_BYTES: dict[str, tuple[float, bool]] = {
    "paged_adamw_8bit": (2 + 2 * 4 / 256, True),
    "adamw_bnb_8bit": (2 + 2 * 4 / 256, False),
    "paged_adamw_32bit": (8, True),
    "adamw_torch": (8, False),
    "adamw_torch_fused": (8, False),
}


def optimizer_bytes(name: str) -> tuple[float, bool]:
    """Of `OPTIMIZER_BYTES`; of one that is not there AdamW's two fp32 moments, as much as any other keeps."""
    return OPTIMIZER_BYTES.get(name, OPTIMIZER_BYTES["adamw_torch"])


def quantized_weights(request: MemoryRequest) -> float:
    """GiB of the linear layers. qlora: 4.127 bit per weight with double quantisation, 4.5 without; lora: 16 bit."""
    if request.method == "lora":
        bits = 32.0 if request.on_cpu else 16.0
    else:
        bits = BITS_DOUBLE_QUANT if request.double_quant else BITS_SINGLE_QUANT
    return linear_parameters(request.model) * bits / 8 / GIB


def plain_weights(request: MemoryRequest) -> float:
    """GiB of what is never quantised: embeddings, head, norms, biases, experts; 2 bytes each, 4 where compute is fp32.

    The experts of a Mixture-of-Experts are no linear layers in transformers 5, so bitsandbytes passes them by.
    """
    model = request.model
    count = embedding_parameters(model) + vector_parameters(model) + expert_parameters(model)
    return count * (4 if request.compute_dtype == "float32" else 2) / GIB


def adapter_weights(request: MemoryRequest) -> float:
    """GiB of the adapter: fp32 master weights and, from the second micro-batch of a step on, fp32 gradients."""
    return _trained(request) * 8 / GIB


def optimizer_state(request: MemoryRequest) -> float:
    """GiB of the optimizer's moments; see `OPTIMIZER_BYTES`."""
    return _trained(request) * optimizer_bytes(request.optimizer)[0] / GIB


def paged_state(request: MemoryRequest) -> float:
    """GiB of `optimizer_state` in managed memory: that of adapter tensors of at least `PAGED_FROM` elements."""
    bytes_each, pages = optimizer_bytes(request.optimizer)
    if not pages or request.on_cpu:
        return 0.0
    sizes = [
        side * request.lora_r
        for linear in linear_layers(request.model)
        if linear.name in request.lora_target_modules
        for side in (linear.in_features, linear.out_features)
    ]
    return request.model.num_layers * sum(size for size in sizes if size >= PAGED_FROM) * bytes_each / GIB


def workspace(request: MemoryRequest) -> float:
    """GiB of buffers that stay from the first step on, as the trainer has them; none on a CPU."""
    return 0.0 if request.on_cpu else request.trainer.memory.workspace(request)


def weight_holes(request: MemoryRequest) -> float:
    """GiB reserved but not allocated between weights, at the training peak.

    1.2 % of the linear layers, 6 % of an embedding, 0.12 GiB where the base is quantised while it loads.
    """
    embedding = request.model.vocab_size * request.model.hidden_size * 2 / GIB
    found = 0.04 + 0.012 * quantized_weights(request) * (request.method == "qlora") + 0.06 * embedding
    if request.method == "qlora" and not request.prequantized:
        found += 0.12
    return found


def fragmentation(request: MemoryRequest, working_gib: float, saved_gib: float) -> float:
    """GiB reserved but not allocated at the training peak, as the trainer leaves them; none on a CPU."""
    return 0.0 if request.on_cpu else request.trainer.memory.fragmentation(request, working_gib, saved_gib)


def evaluation_fragmentation(request: MemoryRequest, working_gib: float) -> float:
    """The same while evaluating: the trainer's, and 0.12 GiB where the base was quantised while it loaded."""
    if request.on_cpu:
        return 0.0
    base = 0.12 if request.method == "qlora" and not request.prequantized else 0.0
    return base + request.trainer.memory.evaluation_fragmentation(request, working_gib)


def loading(request: MemoryRequest) -> float:
    """GiB reserved while the base is loaded, as the trainer does it; quantising on the way leaves 0.2 GiB of holes."""
    holes = 0.2 if request.method == "qlora" and not request.prequantized else 0.03
    return request.trainer.memory.loading(request) + holes


def estimate_memory(request: MemoryRequest) -> MemoryEstimate:
    """The peak of one job.

    Static memory (weights, adapter, gradients, workspaces) and saved activations are there throughout; on top comes the
    larger of the loss's workspace and one layer's work, which do not meet.
    """
    context = cuda_context(request)
    state, paged = optimizer_state(request), paged_state(request)
    weights = quantized_weights(request) + plain_weights(request) + workspace(request)
    static = weights + adapter_weights(request) + state - paged
    free = None if request.usable_gib is None else request.usable_gib - context - static

    scale = request.correction.activations
    terms = request.trainer.memory
    saved, loss, layer = (
        part * scale for part in (activations.saved(request), terms.loss(request, free), activations.layer(request))
    )
    working = max(loss, layer)
    holes = fragmentation(request, working, saved)
    allocated = static + saved + working
    outside = context + paged

    breakdown = {
        "quantized_weights" if request.method == "qlora" else "base_weights": quantized_weights(request),
        "embeddings_norms": plain_weights(request),
        "adapter_gradients": adapter_weights(request),
        "optimizer_state": state,
        "saved_activations": saved,
        "logits_loss" if loss >= layer else "layer_recompute": working,
        "workspace": workspace(request),
        "fragmentation": holes,
        "process" if request.on_cpu else "cuda_context": context,
    }
    evaluating = terms.evaluation(request) * scale
    # gradients are gone by then
    resting = static - adapter_weights(request) / 2 + activations.offload_buffers(request)
    return MemoryEstimate(
        peak_gib=allocated + holes + outside,
        allocated_gib=allocated + (context if request.on_cpu else 0.0),
        reserved_gib=allocated + holes,
        evaluation_gib=resting + outside + evaluating + evaluation_fragmentation(request, evaluating),
        host_gib=host_memory(request),
        breakdown_gib=breakdown,
        budget_gib=None if request.usable_gib is None else budget(request.usable_gib),
        load_gib=0.0 if request.on_cpu else loading(request) + context,
        evaluation_allocated_gib=resting + evaluating,
    )


def cuda_context(request: MemoryRequest) -> float:
    """GiB above what the allocator holds: the machine's own where `ql calibrate` measured it, else the H200's.

    On a CPU it is the process that has imported everything.
    """
    measured = request.correction.context_gib
    if request.on_cpu:
        return PROCESS_GIB if measured is None else measured
    return (CUDA_CONTEXT_GIB if measured is None else measured) + (OFFLOAD_CONTEXT_GIB if offloads(request) else 0.0)


def host_memory(request: MemoryRequest) -> float:
    """GiB of host memory: the process, one shard of up to 5 GB of the checkpoint at a time, offloaded activations.

    On a CPU everything is host memory, so this repeats the process alone.
    """
    if request.on_cpu:
        return PROCESS_GIB
    total = PROCESS_GIB + 2.0 + min(5e9, request.model.parameters * 2) / GIB  # 2 GiB: CUDA libraries, pinned buffers
    if request.gradient_checkpointing and offloads(request):
        total += request.model.num_layers * request.tokens * request.model.hidden_size * 2 / GIB
    return total


def _trained(request: MemoryRequest) -> int:
    return lora_parameters(request.model, request.lora_r, request.lora_target_modules)
