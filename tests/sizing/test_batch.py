from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.catalog import load_model
from launcher.sizing import (
    MARGIN,
    TRAINERS,
    BatchSolution,
    MemoryEstimate,
    MemoryRequest,
    budget,
    estimate_memory,
    solve_batch,
)


def solve(
    model: str,
    usable_gib: float,
    *,
    effective: int = 16,
    trainer: str = "axolotl",
    kernels: tuple[str, ...] = ("liger",),
    micro_batch: int | None = None,
    checkpointing: bool | None = None,
    offload: bool | None = None,
) -> BatchSolution:
    job = MemoryRequest(load_model(model), TRAINERS[trainer], "qlora", 2048, 1, kernels=kernels, usable_gib=usable_gib)

    def estimate(size: int, recompute: bool, where: bool) -> MemoryEstimate:
        return estimate_memory(
            replace(
                job,
                micro_batch_size=size,
                eval_batch_size=size,
                gradient_checkpointing=recompute,
                activation_offload=where,
            )
        )

    return solve_batch(effective, estimate, micro_batch=micro_batch, checkpointing=checkpointing, offload=offload)


@given(st.floats(min_value=6.0, max_value=140.0), st.integers(min_value=1, max_value=100))
def test_what_is_chosen_fits_and_twice_as_much_does_not(usable: float, effective: int) -> None:
    solution = solve("llama-2-7b", usable, effective=effective)
    assert solution.micro_batch_size * solution.gradient_accumulation_steps == effective
    assert solution.eval_batch_size <= solution.micro_batch_size
    if not solution.fits:
        assert solution.estimate.needed_gib > budget(usable)
        return
    assert solution.estimate.peak_gib <= usable * (1 - MARGIN)
    assert solution.estimate.evaluation_gib <= usable * (1 - MARGIN)
    larger = [n for n in range(solution.micro_batch_size + 1, min(effective, 64) + 1) if effective % n == 0]
    if larger:
        forced = solve("llama-2-7b", usable, effective=effective, micro_batch=larger[0], offload=False)
        assert forced.estimate.peak_gib > budget(usable)


def test_a_larger_card_takes_a_larger_micro_batch() -> None:
    sizes = [solve("mistral-7b", usable).micro_batch_size for usable in (8, 14.5, 22.0, 79.1)]
    assert sizes == sorted(set(sizes))


def test_checkpoints_go_to_the_host_only_where_not_one_row_fits_without() -> None:
    assert not solve("llama-2-7b", 22.0).activation_offload
    tight = solve("llama-3.1-70b", 45.0)
    assert tight.activation_offload
    assert "not one row fits" in tight.offload_reason
    assert not solve("llama-3.1-70b", 45.0, offload=False).fits


def test_evaluation_gets_a_smaller_batch_where_it_keeps_whole_logits() -> None:
    solution = solve("llama-3.1-8b", 22.0)
    assert solution.eval_batch_size < solution.micro_batch_size
    assert "whole logits" in solution.eval_reason
    assert solution.fits


def test_what_cannot_fit_says_what_it_needs() -> None:
    solution = solve("llama-2-70b", 22.0)
    assert not solution.fits
    assert "does not fit: 1 row needs" in solution.reason
    assert solution.micro_batch_size == 1


def test_fixed_values_are_kept() -> None:
    solution = solve("llama-2-7b", 79.1, micro_batch=2, checkpointing=False)
    assert (solution.micro_batch_size, solution.gradient_accumulation_steps) == (2, 8)
    assert not solution.gradient_checkpointing
    assert solution.checkpointing_reason == "given"
    assert not solution.activation_offload


@pytest.mark.parametrize("usable", [22.0, 44.3])
def test_unsloth_never_needs_offload_since_it_always_offloads(usable: float) -> None:
    assert not solve("llama-2-13b", usable, trainer="unsloth", kernels=()).activation_offload
