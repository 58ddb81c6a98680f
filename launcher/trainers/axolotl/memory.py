"""How Axolotl uses memory: as a plain run of transformers and peft, but for its fused LoRA and the way it loads."""

from __future__ import annotations

from launcher.catalog.architecture import expert_parameters
from launcher.sizing.activations import Elements, LayerTerms
from launcher.sizing.memory import quantized_weights
from launcher.sizing.request import GIB, MemoryRequest
from launcher.sizing.terms import MemoryTerms

# With the LoRA kernels and Liger's: of the feed-forward only gate and up are saved, their product is made again.
FUSED = LayerTerms(
    saved=Elements(6.1, 0, 2),
    recompute=Elements(7.1, 0, 3),
    backward=Elements(0, 0, 1.5),
    norm_copies=1,
    keys_recomputed=True,
)


class AxolotlMemory(MemoryTerms):
    """Measured with Axolotl 0.19; it offloads nothing unless it is asked to."""

    def layer(self, request: MemoryRequest) -> LayerTerms:
        return FUSED if {"lora", "liger"} <= set(request.kernels) else super().layer(request)

    def loading(self, request: MemoryRequest) -> float:
        """GiB allocated while the base is loaded.

        Embeddings and head are upcast to fp32 one after the other and cast back before training (loaders/model.py): at
        the worst both in fp32 and one still in 16 bit, 5 times an embedding in 16 bit, and one more that the allocator
        holds; where they are one and the same tensor, it in fp32 and in 16 bit, 3 times (Llama-3.2 3B).
        """
        model = request.model
        weights = quantized_weights(request) + expert_parameters(model) * 2 / GIB
        embedding = model.vocab_size * model.hidden_size * 2 / GIB
        return weights + embedding * (3 if model.tie_word_embeddings else 6)


MEMORY = AxolotlMemory()
