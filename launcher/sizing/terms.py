"""What a trainer tells sizing of itself: how it uses memory, and how well it uses a card.

What stands here is a plain run of transformers and peft, without and with Liger's kernels. A trainer that does nothing
else hands over `MemoryTerms()` and `Speed()`; one that does overrides what differs, in `memory.py` and `speed.py` of
its own folder. Everything is GiB, and is asked of jobs on a GPU unless it says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.sizing import activations
from launcher.sizing.activations import Elements, LayerTerms, activation_bytes, largest_weight
from launcher.sizing.memory import WORKSPACE_GIB, adapter_weights, plain_weights, quantized_weights, weight_holes
from launcher.sizing.request import GIB, MemoryRequest
from launcher.sizing.throughput import Speed

# From traces of what was alive at the peak, of a Llama-3.1 8B cut to four layers, and from differences between models
# (benchmarks/sizing, H200, torch 2.11). Saved: the residual after attention and after the layer (2), queries and the
# attention's result (1 + 1.5), the norms (2 with Liger; 6 without: each in fp32 and in 16 bit, the residuals then in
# fewer copies); gate, up and their product, and without Liger the activated gate. Keys and values come on top.
STOCK = LayerTerms(
    saved=Elements(8.3, 0, 4),
    recompute=Elements(8.9, 0, 6),
    backward=Elements(0, 0, 2),
    norm_copies=3,
)
LIGER = LayerTerms(
    saved=Elements(6.1, 0, 3),
    recompute=Elements(4.9, 0, 5),
    backward=Elements(0, 0, 2),
    norm_copies=1,
)
# From the same traces. Training: three fp32 tensors as large as the logits (the log-softmax that is kept, its gradient,
# the upcast logits' one). Evaluating, where no gradient is made: the logits in 16 bit and two fp32 copies; with Liger
# too, whose loss is fused "if self.training" only.
LOSS_BYTES_PER_LOGIT = 12.0
EVALUATION_BYTES_PER_LOGIT = 10.0


@dataclass(frozen=True)
class MemoryTerms:
    """What of a job's memory is its trainer's own doing. The rest, `launcher.sizing.memory`, is the same for all.

    ``offloaded_in_flight`` are the hidden states on the device while the others are on the host, ``offload_buffers``
    those of them that stay there between steps.
    """

    offloaded_in_flight: int = 3
    offload_buffers: int = 0

    def layer(self, request: MemoryRequest) -> LayerTerms:
        """What one decoder layer keeps and uses, with the kernels of ``request``."""
        return LIGER if "liger" in request.kernels else STOCK

    def masks(self, request: MemoryRequest) -> bool:
        """Whether attention gets a mask: rows of different lengths are padded in one batch."""
        return request.micro_batch_size > 1 and not (request.packing or request.equal_rows)

    def dequantization(self, request: MemoryRequest) -> float:
        """GiB of the weight that is held in 16 bit while it multiplies: the largest linear layer; 0 for lora.

        On a CPU too.
        """
        if request.method == "lora":
            return 0.0
        return largest_weight(request) * activation_bytes(request) / GIB

    def loss(self, request: MemoryRequest, free_gib: float | None) -> float:
        """GiB of logits and their gradients at the loss's peak, on a CPU too. ``free_gib``: what static memory leaves.

        tokens * vocabulary * `LOSS_BYTES_PER_LOGIT` and the last norm's input in fp32, tokens * hidden * 4. Liger's
        fused loss works through chunks of 2^ceil(log2(tokens / ceil(vocabulary / hidden))) tokens and keeps the hidden
        states' gradient (liger_kernel, fused_linear_cross_entropy).
        """
        model, tokens = request.model, request.tokens
        if "liger" in request.kernels:
            pieces = math.ceil(model.vocab_size / model.hidden_size)
            chunk = min(tokens, 1 << (math.ceil(tokens / pieces) - 1).bit_length())
            return (chunk * model.vocab_size + tokens * model.hidden_size) * activation_bytes(request) / GIB
        return tokens * (model.vocab_size * LOSS_BYTES_PER_LOGIT + model.hidden_size * 4) / GIB

    def evaluation(self, request: MemoryRequest) -> float:
        """GiB at work while evaluating a batch of ``eval_batch_size`` rows of full length, on a CPU too.

        The whole logits at `EVALUATION_BYTES_PER_LOGIT` and the last hidden state, or one layer's work.
        """
        model = request.model
        tokens = request.eval_batch_size * request.sequence_len
        logits = tokens * model.vocab_size * EVALUATION_BYTES_PER_LOGIT
        last = tokens * model.hidden_size * activation_bytes(request)
        return max(activations.forward(request, tokens), (logits + last) / GIB)

    def workspace(self, request: MemoryRequest) -> float:
        """GiB of buffers that stay from the first step on: those of `WORKSPACE_GIB`."""
        return WORKSPACE_GIB

    def loading(self, request: MemoryRequest) -> float:
        """GiB allocated while the base is loaded and the adapter is made: nothing but the two.

        A trainer that holds embeddings or head in fp32 on the way says so here.
        """
        return quantized_weights(request) + plain_weights(request) + adapter_weights(request) / 2

    def fragmentation(self, request: MemoryRequest, working_gib: float, saved_gib: float) -> float:
        """GiB reserved but not allocated at the training peak, with expandable segments, as every launch sets them.

        `weight_holes`, a fifth of an unfused loss, 0.1 GiB and 2 % of what is saved without checkpointing (6 % between
        weights that were quantised while loading), 40 % of eager attention's scores, a fifth of a layer's work where
        offloading streams beside it.
        """
        found = weight_holes(request)
        if "liger" not in request.kernels:
            found += 0.2 * self.loss(request, None)
        if not request.gradient_checkpointing:
            found += 0.1 + (0.02 if request.prequantized or request.method == "lora" else 0.06) * saved_gib
        if activations.offloads(request) and request.gradient_checkpointing:
            found += 0.2 * activations.layer(request)
        return found + 0.4 * activations.scores(request)

    def evaluation_fragmentation(self, request: MemoryRequest, working_gib: float) -> float:
        """GiB reserved but not allocated while evaluating, but for the base's holes: 0.3, and 6 % of the logits."""
        return 0.3 + 0.06 * working_gib


@dataclass(frozen=True)
class TrainerTerms:
    """All that sizing is told of a trainer."""

    memory: MemoryTerms
    speed: Speed
