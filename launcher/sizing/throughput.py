"""Training speed from arithmetic, bandwidth and the host's pace.

A trainer's constants are fitted by benchmarks/presets/fit_speed.py; docs/speed.md has the error against each measured
and published figure, and tests/sizing/test_throughput.py holds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.catalog.architecture import expert_parameters, linear_parameters
from launcher.catalog.families import described
from launcher.catalog.types import Gpu, Model
from launcher.sizing.lengths import PACKED_FILL, RowLengths
from launcher.sizing.request import MemoryRequest

# What a decoder layer reads and writes of a token besides its weights, in bytes: this many per element of the hidden
# state and of the feed-forward width (16-bit activations of norms, projections, gates and adapters).
LAYER_BYTES_PER_HIDDEN = 34
LAYER_BYTES_PER_INTERMEDIATE = 8
NF4_BYTES = 4.127 / 8  # read for each weight that is dequantised, beside the 2 bytes that are written


@dataclass(frozen=True)
class Speed:
    """How well one trainer uses a card, and whether it computes padding.

    The defaults are the default trainer's fit to the H200, rounded: a start for a trainer that was not measured. Each
    trainer's own constants, in `speed.py` of its folder, are fitted by benchmarks/presets/fit_speed.py.
    """

    matmul: float = 0.74  # share of the dense 16-bit rate that matrix products reach
    traffic: float = 4.0  # times that a layer's activations are read and written over one pass
    dequant: float = 0.9  # share of the bandwidth that dequantisation reaches
    logit_bytes: float = 5.3  # read and written for each logit, where the loss is not fused
    launch: float = 0.005  # host seconds per decoder layer and pass, qlora: the floor under a micro-batch's time
    launch_lora: float = 0.93  # the same, times this, for lora, which starts fewer kernels
    step: float = 0.009  # host seconds per micro-batch whatever the model: collating, logging, the optimizer's share
    offload: float = 1.1  # times longer with activations kept in host memory
    plain_kernels: float = 1.18  # times longer without LoRA kernels that can be switched on; 1 where there is no switch
    padding_free: bool = False  # rows are laid end to end rather than padded to the longest of their micro-batch
    padded_by: str = ""  # whose padding a family's file may speak of: such a family is padded all the same

    def pads(self, model: Model) -> bool:
        """Whether rows of ``model`` that are not packed are padded."""
        return not self.padding_free or self.padded_by in described(model.model_type).padded


def flops_per_token(request: MemoryRequest, attended: float | None = None) -> float:
    """Floating-point operations to train on one token: 2 per weight and pass, over the weights that multiply it.

    Three passes with checkpointing (forward, recomputation, backward to the activations), two without: a frozen base
    has no weight gradient. Causal attention adds 2 * layers * length * heads * head_dim per forward pass, and twice
    that backward; ``attended`` is the length that a token's attention reaches over (the sequence's own when None).
    """
    model = request.model
    active = 1.0
    if model.num_experts:
        active = model.num_experts_per_token / model.num_experts
    weights = linear_parameters(model) + active * expert_parameters(model) + model.vocab_size * model.hidden_size
    length = request.sequence_len if attended is None else attended
    attention = 2 * model.num_layers * length * model.num_attention_heads * model.head_dim
    passes = _passes(request)
    return 2 * weights * passes + attention * (passes + 1)


def micro_batch_seconds(
    request: MemoryRequest, gpu: Gpu, *, tokens: float | None = None, attended: float | None = None
) -> float | None:
    """Seconds to train on one micro-batch of ``tokens`` (padding included; full rows when None).

    None where the card's rate or bandwidth is not known. It takes the longer of the GPU's time (arithmetic, activation
    and logit traffic, dequantisation) and the time in which the host starts its kernels, which a fast card waits for.
    """
    if gpu.tflops_16bit is None or gpu.bandwidth_gbs is None:
        return None
    speed = request.trainer.speed
    model, passes = request.model, _passes(request)
    count = request.tokens if tokens is None else tokens
    bandwidth = gpu.bandwidth_gbs * 1e9
    rate = gpu.tflops_16bit * 1e12 * gpu.rate_share
    arithmetic = count * flops_per_token(request, attended) / (rate * speed.matmul)
    layer_bytes = LAYER_BYTES_PER_HIDDEN * model.hidden_size + LAYER_BYTES_PER_INTERMEDIATE * model.intermediate_size
    moved = count * model.num_layers * layer_bytes * speed.traffic * passes
    if "liger" not in request.kernels:
        moved += count * model.vocab_size * speed.logit_bytes
    device = arithmetic + moved / bandwidth
    if request.method == "qlora":
        device += passes * linear_parameters(model) * (NF4_BYTES + 2) / (bandwidth * speed.dequant)
    if request.activation_offload:
        device *= speed.offload
    host = passes * model.num_layers * speed.launch
    if request.method == "lora":
        host *= speed.launch_lora
    seconds = max(device, host) + speed.step
    return seconds if "lora" in request.kernels else seconds * speed.plain_kernels


def tokens_per_second(request: MemoryRequest, gpu: Gpu) -> float | None:
    """Tokens per second of training on rows of full length; None where the card's rate or bandwidth is not known."""
    seconds = micro_batch_seconds(request, gpu)
    return None if seconds is None else request.tokens / seconds


def useful_tokens_per_second(request: MemoryRequest, gpu: Gpu, lengths: RowLengths | None) -> float | None:
    """Tokens of rows per second, padding not counted; without ``lengths`` every row is full. None: not known."""
    tokens, useful, attended = batch_tokens(request, lengths)
    seconds = micro_batch_seconds(request, gpu, tokens=tokens, attended=attended)
    return None if seconds is None else useful / seconds


def batch_tokens(request: MemoryRequest, lengths: RowLengths | None) -> tuple[float, float, float]:
    """One micro-batch: tokens computed, tokens of rows among them, and the length that attention reaches over.

    Unpacked rows are padded to the longest of their micro-batch, unless the trainer lays them end to end
    (`Speed.pads`). Packed sequences are full but for the last gap.
    """
    rows, limit = request.micro_batch_size, request.sequence_len
    if lengths is None:
        return float(request.tokens), float(request.tokens), float(limit)
    if request.packing:
        return float(request.tokens), request.tokens * PACKED_FILL, lengths.attended(limit)
    mean = lengths.mean(limit)
    if not request.trainer.speed.pads(request.model):
        return rows * mean, rows * mean, lengths.attended(limit)
    padded = lengths.padded(rows, limit)
    return rows * padded, rows * mean, padded


def _passes(request: MemoryRequest) -> int:
    return 3 if request.gradient_checkpointing else 2
