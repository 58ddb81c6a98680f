"""What of a job's memory is Axolotl's own doing: its fused LoRA, and how it loads the base."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sized import job

from launcher.sizing import MemoryEstimate, estimate_memory


def test_fused_lora_saves_less_and_only_beside_liger() -> None:
    kept = {"gradient_checkpointing": False}
    fused, liger, stock, alone = (
        estimate_memory(job("mistral-7b", "axolotl", kernels=kernels, **kept)).breakdown_gib["saved_activations"]
        for kernels in (("lora", "liger"), ("liger",), (), ("lora",))
    )
    assert fused < liger < stock
    assert alone == stock


def evaluation(kernels: tuple[str, ...], rows: int) -> MemoryEstimate:
    return estimate_memory(job("llama-3.1-8b", "axolotl", kernels=kernels, eval_batch_size=rows))


def test_evaluation_keeps_whole_logits_with_liger() -> None:
    fused = evaluation(("lora", "liger"), 16)
    assert fused.evaluation_gib > fused.peak_gib
    assert fused.evaluation_gib == pytest.approx(evaluation((), 16).evaluation_gib)


def test_the_largest_moment_may_be_loading() -> None:
    """Embeddings and head are upcast: with 128k tokens that is more than a small batch takes later."""
    small = estimate_memory(job("llama-3.1-8b", "axolotl", 512, 1, kernels=("lora", "liger")))
    assert small.load_gib > small.peak_gib
    assert small.needed_gib == small.load_gib
    assert estimate_memory(job("llama-3.1-8b", "unsloth", 512, 1)).load_gib < small.load_gib


def test_one_tensor_for_embeddings_and_head_is_upcast_once() -> None:
    """6 times an embedding in 16 bit where there are two of them, 3 times where there is one."""
    request = job("llama-3.1-8b", "axolotl")
    tied = replace(request, model=replace(request.model, tie_word_embeddings=True))
    embedding = request.model.vocab_size * request.model.hidden_size * 2 / 2**30
    assert estimate_memory(request).load_gib - estimate_memory(tied).load_gib == pytest.approx(3 * embedding)
