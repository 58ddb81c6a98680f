"""How Unsloth uses memory: its own layers, loss, evaluation and buffers."""

from __future__ import annotations

import math

from launcher.sizing import activations
from launcher.sizing.activations import Elements, LayerTerms, largest_weight
from launcher.sizing.memory import weight_holes
from launcher.sizing.request import GIB, MemoryRequest
from launcher.sizing.terms import MemoryTerms

# From the traces of benchmarks/sizing. Saved: as in a layer with fused LoRA, less the norms' results, and with its keys
# and values.
LAYER = LayerTerms(
    saved=Elements(7.3, 2.1, 2),
    recompute=Elements(8.2, 2.1, 6),
    backward=Elements(0, 0, 4),
    norm_copies=1,
    keys_saved=False,
)


class UnslothMemory(MemoryTerms):
    """Measured with Unsloth 2026.10, whose kernels are always on; train.py asks it for plain checkpointing.

    Where activations are offloaded, two of the hidden states on the device are buffers that it keeps.
    """

    def layer(self, request: MemoryRequest) -> LayerTerms:
        return LAYER

    def masks(self, request: MemoryRequest) -> bool:
        """Never: the padding is taken out of a batch."""
        return False

    def dequantization(self, request: MemoryRequest) -> float:
        """Nothing for each layer: one buffer is kept from the first step on (`workspace`)."""
        return 0.0

    def loss(self, request: MemoryRequest, free_gib: float | None) -> float:
        """GiB of logits at the loss's peak; on no measured job was it the peak.

        It goes through chunks of an eighth of the tokens, at least 512 of them and at most min(2 GiB, half of the free
        memory) at 8 bytes per logit, of which 4 are there at once (unsloth_zoo, chunked_logprob).
        """
        model, tokens = request.model, request.tokens
        limit = 2.0 if free_gib is None else min(2.0, max(free_gib / 2, 0.05))
        rows = min(tokens, max(512, math.ceil(tokens / 8)), int(limit * GIB / model.vocab_size / 8))
        return rows * model.vocab_size * 4 / GIB

    def evaluation(self, request: MemoryRequest) -> float:
        """GiB at work while evaluating a batch of ``eval_batch_size`` rows of full length.

        No logits are returned but the keys and values of all layers, which accelerate copies to fp32: layers * 2 *
        width of the keys * 6 bytes per token; that is 12 KiB per token and 1,024 of key width for a 7B, and four times
        as much for Llama 2, which shares no keys.
        """
        model = request.model
        tokens = request.eval_batch_size * request.sequence_len
        cached = 2 * model.num_layers * model.num_key_value_heads * model.head_dim * tokens
        return max(cached * 6 / GIB, cached * 2 / GIB + activations.forward(request, tokens))

    def workspace(self, request: MemoryRequest) -> float:
        """GiB of buffers that stay from the first step on.

        On top of the libraries' own: tables of sines and cosines for every position that the model can read, positions
        * head_dim * 4 bytes; and the widest weight's 16-bit copy (qlora).
        """
        model = request.model
        found = super().workspace(request) + model.max_position_embeddings * model.head_dim * 4 / GIB
        return found + (largest_weight(request) * 2 / GIB if request.method == "qlora" else 0.0)

    def fragmentation(self, request: MemoryRequest, working_gib: float, saved_gib: float) -> float:
        """GiB reserved but not allocated at the training peak: 8 % of a layer's work, and 2 % of what is saved without
        checkpointing, on top of the holes between weights.
        """
        found = weight_holes(request) + 0.08 * working_gib
        return found + (0.0 if request.gradient_checkpointing else 0.02 * saved_gib)

    def evaluation_fragmentation(self, request: MemoryRequest, working_gib: float) -> float:
        """GiB reserved but not allocated while evaluating, but for the base's holes: 0.1, and 2 % of the work."""
        return 0.1 + 0.02 * working_gib


MEMORY = UnslothMemory(offloaded_in_flight=4, offload_buffers=2)
