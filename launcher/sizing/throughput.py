"""Training speed from arithmetic, bandwidth and the host's pace.

The errors against measured and published figures are a test: tests/sizing/test_throughput.py.
"""

from __future__ import annotations

from launcher.catalog.architecture import expert_parameters, linear_parameters
from launcher.catalog.types import Gpu
from launcher.sizing.memory import BITS_DOUBLE_QUANT, LAYER_BYTES_PER_HIDDEN, LAYER_BYTES_PER_INTERMEDIATE
from launcher.sizing.request import MemoryRequest

# Share of the dense 16-bit rate that matrix products reach: fitted to answer.ai's 3090 and 4090 runs and
# LLaMA-Factory's A100 run at 16k tokens, where arithmetic is all that matters.
MATMUL_EFFICIENCY = 0.75
# Reads and writes of a layer's saved activations over forward, recomputation and backward. Same fit.
ACTIVATION_TRAFFIC = 4.0
# Share of the bandwidth that dequantisation kernels reach; torchtune's QLoRA against LoRA on a 4090 (1.28x) sets it.
DEQUANT_EFFICIENCY = 0.35
# LoRA without quantisation starts fewer kernels per layer: litgpt's and torchtune's ratios of 1.28 to 1.39.
LAUNCH_LORA = 1 / 1.3
# Copying checkpoints to the host and back is mostly hidden behind arithmetic.
OFFLOAD_SLOWDOWN = 1.05
# Cards on which the prediction was held against a measured or published run; elsewhere it is arithmetic alone.
CHECKED_CARDS = frozenset({"h200", "4090", "3090", "a100-40gb", "a10g"})


def flops_per_token(request: MemoryRequest) -> float:
    """Floating-point operations to train on one token: 2 per weight and pass, over the weights that multiply it.

    Three passes with checkpointing (forward, recomputation, backward to the activations), two without: a frozen base
    has no weight gradient. Causal attention adds
    2 * layers * length * heads * head_dim per forward pass, and twice that backward.
    """
    model = request.model
    active = 1.0
    if model.num_experts:
        active = model.num_experts_per_token / model.num_experts
    weights = linear_parameters(model) + active * expert_parameters(model) + model.vocab_size * model.hidden_size
    attention = 2 * model.num_layers * request.sequence_len * model.num_attention_heads * model.head_dim
    passes = _passes(request)
    return 2 * weights * passes + attention * (passes + 1)


def tokens_per_second(request: MemoryRequest, gpu: Gpu) -> float | None:
    """Tokens per second of training, padding counted; None where the card's rate or bandwidth is not known.

    A micro-batch takes the longer of the GPU's time (arithmetic, activation traffic, dequantisation) and the time in
    which the host starts its kernels, which a fast card waits for.
    """
    if gpu.tflops_16bit is None or gpu.bandwidth_gbs is None:
        return None
    model, tokens, passes = request.model, request.tokens, _passes(request)
    bandwidth = gpu.bandwidth_gbs * 1e9
    arithmetic = tokens * flops_per_token(request) / (gpu.tflops_16bit * 1e12 * MATMUL_EFFICIENCY)
    layer_bytes = LAYER_BYTES_PER_HIDDEN * model.hidden_size + LAYER_BYTES_PER_INTERMEDIATE * model.intermediate_size
    traffic = tokens * model.num_layers * layer_bytes * ACTIVATION_TRAFFIC / bandwidth
    dequant = 0.0
    if request.method == "qlora":
        dequant = passes * linear_parameters(model) * (BITS_DOUBLE_QUANT / 8 + 2) / (bandwidth * DEQUANT_EFFICIENCY)
    device = (arithmetic + traffic + dequant) / request.trainer.rate
    host = passes * model.num_layers * request.trainer.launch_seconds
    if request.method == "lora":
        host *= LAUNCH_LORA
    seconds = max(device, host)
    if request.activation_offload and not request.trainer.offloads_checkpoints:
        seconds *= OFFLOAD_SLOWDOWN
    return tokens / seconds


def _passes(request: MemoryRequest) -> int:
    return 3 if request.gradient_checkpointing else 2
