"""`auto`: the trainer and the method are chosen by what the plans need, and the loser is named with its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.catalog import load_gpu
from launcher.data.facts import DataFacts
from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory, plan_speed
from launcher.planning.forecast import Forecast, best_cards, compare, plan_and_forecast
from launcher.preparing.request import make_request

LONG_ROWS = DataFacts(
    rows=400,
    eval_rows=20,
    conversational=True,
    tokens_total=4_000_000,
    tokens_mean=10_000.0,
    tokens_p95=12_000,
    tokens_max=12_200,
    exact=True,
    quantiles=(8000, 9000, 10_000, 11_000, 12_200),
)


@pytest.mark.parametrize("preset", ["a10g-7b", "4090-13b", "h100-70b", "a100-48gb-70b", "t4-8b"])
def test_the_faster_trainer_that_fits_is_taken(preset: str) -> None:
    chosen = make_plan(make_request(preset=preset, backend="auto"))
    speeds = {}
    for name in ("axolotl", "unsloth"):
        request = make_request(preset=preset, backend=name)
        plan = make_plan(request)
        if estimate_plan_memory(plan, request).fits:
            speeds[name] = plan_speed(plan, request) or 0.0
    assert chosen.backend == max(speeds, key=lambda name: speeds[name])
    other = {"axolotl": "Unsloth", "unsloth": "Axolotl"}[chosen.backend]
    assert chosen.reasons["backend"].startswith("auto: the ")
    assert other in chosen.reasons["backend"]


def test_a_trainer_that_cannot_is_named_with_its_reason() -> None:
    chosen = make_plan(make_request(preset="h100-7b", backend="auto", settings={"kernels": ["liger"]}))
    assert chosen.backend == "axolotl"
    assert "Unsloth cannot" in chosen.reasons["backend"]


def test_auto_raises_what_every_trainer_says_once() -> None:
    with pytest.raises(BadInput) as caught:
        make_plan(make_request(preset="h100-7b", backend="auto", settings={"sequence_len": 1_000_000}))
    assert len(caught.value.problems) == 1


def test_the_house_rule_takes_lora_where_it_fits_and_qlora_where_it_would_not() -> None:
    large = make_plan(make_request(preset="h100-7b", method="auto"))
    assert large.method == "lora"
    assert "QLoRA" in large.reasons["method"]
    small = make_plan(make_request(preset="a10g-13b", method="auto"))
    assert small.method == "qlora"
    assert "16-bit LoRA would need" in small.reasons["method"]


def test_method_and_trainer_can_both_be_chosen() -> None:
    request = make_request(preset="a10g-13b", method="auto", backend="auto")
    plan = make_plan(request)
    assert plan.reasons["method"].startswith("house rule")
    assert plan.reasons["backend"].startswith("auto")
    assert estimate_plan_memory(plan, replace(request, auto_method=False)).fits


def test_the_method_is_chosen_before_the_trainer() -> None:
    """On this card LoRA fits with Unsloth alone, and Axolotl's QLoRA would be faster."""
    request = make_request(gpu="a10g", model="gemma-2-9b", method="auto", backend="auto")
    plan = make_plan(request)
    assert (plan.method, plan.backend) == ("lora", "unsloth")
    assert "16-bit LoRA fits" in plan.reasons["method"]
    assert plan.reasons["backend"].startswith("auto: the only one that fits")
    assert plan_and_forecast(request, details=True).recommendation.startswith("house rule: LoRA")


def test_what_fits_only_with_rows_cut_does_not_win_over_what_keeps_them_whole() -> None:
    request = make_request(gpu="a10g", model="llama-3.1-8b", data=LONG_ROWS)
    cut = make_plan(request)
    assert cut.backend == "axolotl"
    assert cut.sequence_len == 10_240
    whole = make_plan(replace(request, auto_backend=True))
    assert whole.backend == "unsloth"
    assert whole.sequence_len == 12_224
    assert whole.reasons["backend"].startswith("auto: the only one that fits rows of 12224 tokens")
    chosen = make_plan(replace(request, auto_method=True))
    assert chosen.method == "qlora"
    assert "LoRA fits only with rows cut at 3584 tokens" in chosen.reasons["method"]
    assert "only with rows cut at 3584 tokens" in plan_and_forecast(request, details=True).recommendation


def test_a_card_that_cuts_rows_is_neither_cheapest_nor_fastest() -> None:
    request = make_request(gpu="a10g", model="llama-3.1-8b", data=LONG_ROWS)
    found = compare(request, [load_gpu(name) for name in ("l4", "a100-40gb")])
    small, large = found
    assert isinstance(small, Forecast)
    assert isinstance(large, Forecast)
    assert small.cost and small.cost.usd and large.cost and large.cost.usd
    assert small.cost.usd < large.cost.usd
    assert best_cards(found) == {"l4": ["rows cut at 10240 tokens"], "a100-40gb": ["cheapest", "fastest"]}
