"""How a job is cut: what is chosen fits and is fastest, what is fixed is kept, and every reason says why."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from launcher.catalog import list_presets
from launcher.data.facts import DataFacts
from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory, plan_speed, rows_per_step
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.preparing.request import make_request


def drawn(median: float, sigma: float, longest: int = 100_000, rows: int = 5000) -> DataFacts:
    draw = random.Random(7)
    lengths = sorted(min(longest, max(8, round(median * draw.lognormvariate(0, sigma)))) for _ in range(1000))
    return DataFacts(
        rows=rows,
        eval_rows=rows // 20,
        conversational=True,
        tokens_total=round(sum(lengths) / len(lengths) * rows),
        tokens_mean=sum(lengths) / len(lengths),
        tokens_p95=lengths[949],
        tokens_max=lengths[-1],
        exact=True,
        quantiles=tuple(lengths[4::5]),
    )


SHORT, MIXED, LONG = drawn(60, 0.6), drawn(250, 0.9), drawn(3000, 0.3)


def planned(preset: str = "h100-7b", data: DataFacts | None = None, **asked: Any) -> tuple[Plan, Request]:
    request = make_request(preset=preset, data=data, **asked)
    return make_plan(request), request


@pytest.mark.parametrize("name", [name for name in list_presets() if name != "cpu-tiny"])
def test_what_a_preset_chooses_fits_and_neither_neighbour_is_better(name: str) -> None:
    plan, request = planned(name)
    assert estimate_plan_memory(plan, request).fits
    speed = plan_speed(plan, request)
    assert speed is not None
    for other in (plan.micro_batch_size // 2, plan.micro_batch_size * 2):
        if other < 1 or other > plan.effective_batch_size:
            continue
        settings = {"micro_batch_size": other}
        rival, asked = planned(name, settings=settings)
        if estimate_plan_memory(rival, asked).fits:
            faster = plan_speed(rival, asked)
            assert faster is not None
            assert faster <= speed * 1.011


def test_what_a_person_fixes_is_kept() -> None:
    plan, _ = planned(settings={"micro_batch_size": 2, "gradient_checkpointing": False})
    assert (plan.micro_batch_size, plan.gradient_accumulation_steps) == (2, 8)
    assert not plan.gradient_checkpointing
    assert plan.reasons["micro_batch_size"] == "set by you"
    steps, _ = planned(settings={"gradient_accumulation_steps": 4})
    assert (steps.micro_batch_size, steps.gradient_accumulation_steps) == (4, 4)
    offload, _ = planned("a10g-7b", settings={"activation_offload": True})
    assert offload.gradient_checkpointing
    assert offload.activation_offload


def test_offload_without_checkpointing_is_refused() -> None:
    with pytest.raises(BadInput, match="needs gradient_checkpointing"):
        planned(settings={"activation_offload": True, "gradient_checkpointing": False})


def test_what_cannot_fit_says_what_it_needs() -> None:
    plan = make_plan(make_request(gpu="a10g", model="llama-2-70b"))
    assert "does not fit: 1 row needs" in plan.reasons["micro_batch_size"]


def test_short_rows_of_mixed_length_are_packed_where_that_is_sound_and_the_rows_per_step_stay() -> None:
    plan, request = planned(data=MIXED, settings={"sequence_len": 2048})
    assert plan.packing
    assert "packed they train" in plan.reasons["packing"]
    assert rows_per_step(plan, request) == pytest.approx(16, rel=0.35)
    assert plan.micro_batch_size * plan.gradient_accumulation_steps == plan.effective_batch_size
    apart, asked = planned(data=MIXED, settings={"sequence_len": 2048, "packing": False})
    together, alone = plan_speed(plan, request), plan_speed(apart, asked)
    assert together is not None
    assert alone is not None
    assert together >= 1.1 * alone


@pytest.mark.parametrize("median", [15, 30, 60, 100, 150, 220, 400])
def test_packing_never_changes_the_rows_of_a_step_by_more_than_rounding(median: int) -> None:
    """One long row among short ones makes long sequences: a single packed one may hold more rows than a step takes."""
    data = replace(drawn(median, 0.6), rows=20_000, eval_rows=1000, tokens_max=2000)
    plan, request = planned(data=replace(data, quantiles=(*data.quantiles[:-1], 2000)))
    assert plan.sequence_len == 2048
    assert rows_per_step(plan, request) == pytest.approx(16, rel=0.35)
    assert plan.packing == (median >= 100)
    if plan.packing:
        assert f"about {rows_per_step(plan, request):.0f} rows" in plan.reasons["effective_batch_size"]
    else:
        assert "a packed one would hold" in plan.reasons["packing"]


@pytest.mark.parametrize(
    ("preset", "asked", "why"),
    [
        ("h100-7b", {"settings": {"effective_batch_size": 16}}, None),
        ("h100-7b", {"backend": "unsloth"}, "no padding to save"),
        ("t4-7b", {}, "Ampere or newer"),
        ("a10g-14b", {}, "loss of 0"),
        ("cpu-tiny", {}, "kernel of the GPU"),
    ],
)
def test_packing_is_not_chosen_where_it_is_unsound_or_would_change_what_was_asked(
    preset: str, asked: dict[str, Any], why: str | None
) -> None:
    plan, _ = planned(preset, MIXED, **asked)
    assert not plan.packing
    assert why is None or why in plan.reasons["packing"]


def test_packing_that_a_person_asks_for_is_done() -> None:
    plan, _ = planned(data=LONG, settings={"packing": True, "sequence_len": 4096})
    assert plan.packing
    assert plan.reasons["packing"] == "set by you"


def test_rows_of_one_length_are_not_packed() -> None:
    even = replace(MIXED, quantiles=(512,), tokens_mean=512.0, tokens_p95=512, tokens_max=512)
    plan, _ = planned(data=even)
    assert plan.sequence_len == 512
    assert not plan.packing
    assert "not worth" in plan.reasons["packing"]


def test_few_rows_or_estimated_lengths_are_not_packed() -> None:
    assert not planned(data=replace(MIXED, rows=60, eval_rows=3))[0].packing
    assert not planned(data=replace(MIXED, exact=False))[0].packing


@pytest.mark.parametrize(("data", "least", "most"), [(SHORT, 64, 1024), (LONG, 4096, 12_288)])
def test_the_length_follows_the_rows(data: DataFacts, least: int, most: int) -> None:
    plan, _ = planned("h200-7b", data)
    assert least <= plan.sequence_len <= most
    assert plan.sequence_len % 64 == 0


def test_a_length_that_does_not_fit_is_shortened_and_the_cut_is_said() -> None:
    very_long = drawn(20_000, 0.3)
    wide, _ = planned("h200-14b", very_long)
    small, asked = planned("4090-32b", very_long)
    assert small.sequence_len < wide.sequence_len
    assert estimate_plan_memory(small, asked).fits
    assert "of the rows are cut" in small.reasons["sequence_len"]


@pytest.mark.parametrize(
    ("card", "model", "backend"),
    [("a100-80gb", "qwen2.5-14b", "axolotl"), ("h100", "qwen2.5-32b", "axolotl"), ("t4", "mistral-7b", "unsloth")],
)
def test_rows_are_cut_by_no_more_than_has_to_be(card: str, model: str, backend: str) -> None:
    """Rows of 48,000 tokens of which 40,000 fit were cut at 8,192."""
    asked = make_request(gpu=card, model=model, backend=backend, data=drawn(18_000, 0.3, longest=48_000))
    plan = make_plan(asked)
    assert "of the rows are cut: " in plan.reasons["sequence_len"]
    longer = replace(asked, overrides={**asked.overrides, "sequence_len": plan.sequence_len * 5 // 4 + 64})
    assert not estimate_plan_memory(make_plan(longer), longer).fits


def test_a_length_whose_evaluation_does_not_fit_is_shortened_too() -> None:
    """Axolotl's evaluation keeps whole logits, so it can be what does not fit where training does."""
    data = drawn(9000, 0.1)
    asked = make_request(gpu="a10g", model="llama-3.1-8b", data=data)
    plan = make_plan(asked)
    fixed = replace(asked, overrides={"sequence_len": -(-data.tokens_max // 64) * 64})
    whole = estimate_plan_memory(make_plan(fixed), fixed)
    assert whole.budget_gib is not None
    assert whole.peak_gib < whole.budget_gib < whole.evaluation_gib
    assert plan.sequence_len == 10_240
    assert "of the rows are cut" in plan.reasons["sequence_len"]
    assert estimate_plan_memory(plan, asked).fits


@pytest.mark.parametrize("data", [None, replace(LONG, eval_rows=0)])
def test_evaluation_counts_only_where_rows_are_evaluated(data: DataFacts | None) -> None:
    settings = {"sequence_len": 16_384} | ({} if data else {"eval_fraction": 0})
    never = make_request(gpu="a10g", model="llama-3.1-8b", settings=settings, data=data)
    plan = make_plan(never)
    assert estimate_plan_memory(plan, never).fits
    assert plan.reasons["eval_batch_size"] == "no rows are held out: there is no evaluation"
    held_out = make_request(gpu="a10g", model="llama-3.1-8b", settings={"sequence_len": 16_384})
    plan = make_plan(held_out)
    assert not estimate_plan_memory(plan, held_out).fits
    assert plan.reasons["eval_batch_size"].startswith("does not fit: evaluation needs")


def test_one_outlier_does_not_set_the_length() -> None:
    data = replace(MIXED, tokens_max=20_000, quantiles=(*MIXED.quantiles[:-1], 20_000))
    plan, _ = planned("h200-7b", data)
    assert plan.sequence_len < 20_000
    assert "the longest has 20000 tokens" in plan.reasons["sequence_len"]
    fixed, _ = planned("h200-7b", data, settings={"sequence_len": 4096})
    assert fixed.sequence_len == 4096


def test_shapes_and_reasons_differ_with_the_rows() -> None:
    plans = [planned("a10g-7b", data)[0] for data in (SHORT, MIXED, LONG)]
    assert len({(plan.sequence_len, plan.micro_batch_size, plan.packing) for plan in plans}) == 3


def test_evaluation_never_takes_more_than_the_budget() -> None:
    for name in list_presets():
        plan, request = planned(name)
        memory = estimate_plan_memory(plan, request)
        assert memory.budget_gib is not None
        assert memory.evaluation_gib <= memory.budget_gib
        assert plan.eval_batch_size <= plan.micro_batch_size
