"""What sizing is told of a trainer: a plain one needs no number of its own, and what one overrides is what changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sized import job

from launcher.catalog import list_models, load_gpu, load_model
from launcher.sizing import MemoryRequest, MemoryTerms, Speed, TrainerTerms, estimate_memory, tokens_per_second
from launcher.sizing.activations import layer as layer_work
from launcher.sizing.activations import offload_buffers, qk_norms, saved

PLAIN = TrainerTerms(MemoryTerms(), Speed())


@pytest.mark.parametrize("method", ["qlora", "lora"])
@pytest.mark.parametrize("model", list_models())
def test_a_plain_trainer_is_sized_without_a_number_of_its_own(model: str, method: str) -> None:
    request = job(model, PLAIN, method=method)
    estimate = estimate_memory(request)
    assert sum(estimate.breakdown_gib.values()) == pytest.approx(estimate.peak_gib)
    assert 0 < estimate.allocated_gib < estimate.reserved_gib < estimate.peak_gib
    assert estimate.load_gib > 0
    speed = tokens_per_second(request, load_gpu("h200"))
    assert speed is not None
    assert speed > 0


class KeepsNoLogits(MemoryTerms):
    def loss(self, request: MemoryRequest, free_gib: float | None) -> float:
        return 0.0


def test_what_a_trainer_overrides_is_what_changes() -> None:
    plain = job("llama-3.1-8b", PLAIN)
    other = replace(plain, trainer=replace(PLAIN, memory=KeepsNoLogits()))
    before, after = estimate_memory(plain), estimate_memory(other)
    assert before.breakdown_gib["logits_loss"] > after.breakdown_gib["layer_recompute"]
    assert after.peak_gib < before.peak_gib
    assert (after.load_gib, after.evaluation_gib) == (before.load_gib, before.evaluation_gib)


def test_hidden_states_in_flight_are_the_trainers() -> None:
    plain = job("mistral-7b", PLAIN, activation_offload=True)
    more = replace(plain, trainer=replace(PLAIN, memory=MemoryTerms(offloaded_in_flight=6, offload_buffers=2)))
    assert saved(more) == 2 * saved(plain)
    assert (offload_buffers(plain), offload_buffers(more)) == (0.0, saved(more) / 3)


@pytest.mark.parametrize("kernels", [(), ("liger",)])
def test_evaluation_keeps_whole_logits(kernels: tuple[str, ...]) -> None:
    """With Liger's loss too, which is fused in training only."""
    estimate = estimate_memory(job("llama-3.1-8b", PLAIN, kernels=kernels, eval_batch_size=16))
    logits = 16 * 2048 * (load_model("llama-3.1-8b").vocab_size * 10 + 4096 * 2) / 2**30
    one = estimate_memory(job("llama-3.1-8b", PLAIN, kernels=kernels, eval_batch_size=8))
    assert estimate.evaluation_allocated_gib - one.evaluation_allocated_gib == pytest.approx(logits / 2)
    assert estimate.evaluation_gib > estimate.peak_gib


@pytest.mark.parametrize(
    ("trainer", "kernels", "copies"),
    [(PLAIN, (), 3), (PLAIN, ("liger",), 1), ("axolotl", ("lora", "liger"), 1), ("axolotl", (), 3), ("unsloth", (), 1)],
)
def test_norms_of_queries_and_keys_keep_what_comes_in(
    trainer: str | TrainerTerms, kernels: tuple[str, ...], copies: int
) -> None:
    """Qwen3's: in every layer without checkpointing, in the one that goes back with it; other families have none."""
    plain = job("qwen2.5-7b", trainer, gradient_checkpointing=False, kernels=kernels)
    model = plain.model
    normed = replace(plain, model=replace(model, model_type="qwen3"))
    width = (model.num_attention_heads + model.num_key_value_heads) * model.head_dim
    layer = plain.tokens * width * copies * 2 / 2**30
    assert qk_norms(plain) == 0
    assert qk_norms(normed) == pytest.approx(layer)
    assert saved(normed) - saved(plain) == pytest.approx(model.num_layers * layer)
    recomputed = [replace(request, gradient_checkpointing=True) for request in (plain, normed)]
    assert layer_work(recomputed[1]) - layer_work(recomputed[0]) == pytest.approx(layer)
    assert saved(recomputed[1]) == saved(recomputed[0])


def test_a_padded_batch_takes_more_than_a_packed_one() -> None:
    padded = job("mistral-7b", PLAIN, micro_batch=4, kernels=("liger",))
    needed = [estimate_memory(replace(padded, **changes)).peak_gib for changes in ({"packing": True}, {})]
    assert needed[0] < needed[1]
    assert estimate_memory(replace(padded, equal_rows=True)).peak_gib == needed[0]


def test_padding_is_computed_but_by_a_trainer_that_takes_it_out() -> None:
    mistral, gemma = load_model("mistral-7b"), load_model("gemma-2-9b")
    free = Speed(padding_free=True, padded_by="unsloth")
    assert [Speed().pads(model) for model in (mistral, gemma)] == [True, True]
    assert [free.pads(model) for model in (mistral, gemma)] == [False, True]
