"""What of a job's memory is Unsloth's own doing: its loss, its evaluation, its buffers, and no padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sized import job

from launcher.sizing import estimate_memory


def test_evaluation_keeps_keys_and_values() -> None:
    """Llama 2 7B has four times the key width of Llama 3.1 8B: 1.5 MiB for each token that is evaluated."""
    rows = 2
    llama2, more = (
        estimate_memory(job("llama-2-7b", "unsloth", eval_batch_size=count)).evaluation_allocated_gib
        for count in (rows, 2 * rows)
    )
    assert more - llama2 == pytest.approx(rows * 2048 * 1.5 / 1024)
    ours, logits = (
        estimate_memory(job("llama-3.1-8b", trainer, eval_batch_size=16)).evaluation_gib
        for trainer in ("unsloth", "axolotl")
    )
    assert ours < logits


def test_the_loss_is_split_by_free_memory() -> None:
    roomy = job("llama-3.1-8b", "unsloth", micro_batch=8)
    tight = replace(roomy, usable_gib=10.0)
    assert estimate_memory(tight).allocated_gib <= estimate_memory(roomy).allocated_gib


def test_a_padded_batch_takes_what_a_packed_one_does() -> None:
    ragged = job("mistral-7b", "unsloth", micro_batch=4)
    assert estimate_memory(ragged) == estimate_memory(replace(ragged, packing=True))


def test_the_widest_weight_stays_in_16_bit_where_it_is_quantised() -> None:
    """Its buffer, and tables for the 32,768 positions that Mistral 7B can read."""
    quantised, plain = (
        estimate_memory(job("mistral-7b", "unsloth", method=method)).breakdown_gib["workspace"]
        for method in ("qlora", "lora")
    )
    assert quantised - plain == pytest.approx(4096 * 14336 * 2 / 2**30)
    bare = estimate_memory(job("mistral-7b", "axolotl")).breakdown_gib["workspace"]
    assert plain - bare == pytest.approx(32768 * 128 * 4 / 2**30)
