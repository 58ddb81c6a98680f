"""The trade between QLoRA and LoRA, signed as LoRA minus QLoRA, and what it recommends by."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.report.trade import find_trade


def run(method: str, **more: Any) -> dict[str, Any]:
    facts = {"name": method, "method": method, "peak_memory_gib": 10.0, "seconds": 1000.0, "usd": 1.0, "gates": []}
    return {**facts, **more}


def facts(
    qlora: dict[str, Any], lora: dict[str, Any], difference: float = 0.0, *, evident: bool = False, order: int = 1
) -> dict[str, Any]:
    """``difference`` is LoRA minus QLoRA; with ``order`` -1 the LoRA run is the first of the pair."""
    runs = [qlora, lora][::order]
    score = {
        "difference": difference * order, "low": difference * order - 0.1, "high": difference * order + 0.1,
        "evident": evident, "p_value": 0.5,
    }  # fmt: skip
    pair = {
        "first": runs[0]["name"], "second": runs[1]["name"], "prompts": 100, "main_metric": "exact_match",
        "metrics": {"exact_match": score},
    }  # fmt: skip
    return {"runs": runs, "golden": [pair]}


@pytest.mark.parametrize("order", [1, -1])
def test_the_numbers_are_lora_minus_qlora_whatever_the_order(order: int) -> None:
    lora = run("lora", peak_memory_gib=28.0, seconds=700.0, usd=0.7)
    trade = find_trade(facts(run("qlora"), lora, 0.017, order=order))
    assert trade is not None
    assert trade["points"] == pytest.approx(1.7)
    assert (trade["points_low"], trade["points_high"]) == pytest.approx((-8.3, 11.7))
    assert (trade["gib"], trade["seconds"], trade["usd"]) == (18.0, -300.0, pytest.approx(-0.3))
    assert trade["words"] == (
        "LoRA against QLoRA: +1.7 points of exact match (95 % -8.3 to +11.7), +18.00 GiB, 5 min 00 s less, $0.30 less"
    )


PASSED, MISSED = [{"gate": "exact_match>=0.8", "passed": True}], [{"gate": "exact_match>=0.8", "passed": False}]


@pytest.mark.parametrize(
    ("qlora", "lora", "difference", "evident", "taken", "why"),
    [
        (run("qlora", gates=PASSED), run("lora", gates=MISSED, usd=0.1), 0.3, True, "qlora", "passes its gates"),
        (run("qlora", gates=MISSED), run("lora", gates=MISSED), 0.3, True, "lora", "neither passes"),
        (run("qlora"), run("lora", usd=9.0), 0.3, True, "lora", "30.0 points more"),
        (run("qlora"), run("lora", usd=0.1), -0.3, True, "qlora", "30.0 points more"),
        (run("qlora"), run("lora", usd=0.7), -0.02, False, "lora", "cheaper"),
        (run("qlora", usd=None), run("lora", usd=None, seconds=1300.0), 0.02, False, "qlora", "faster"),
        (run("qlora"), run("lora", peak_memory_gib=28.0), 0.0, False, "qlora", "less memory"),
        (run("qlora"), run("lora"), 0.0, False, "lora", "lose nothing"),
    ],
)
def test_the_recommendation(
    qlora: dict[str, Any], lora: dict[str, Any], difference: float, evident: bool, taken: str, why: str
) -> None:
    trade = find_trade(facts(qlora, lora, difference, evident=evident))
    assert trade is not None
    assert trade["recommend"] == taken
    assert why in trade["why"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("lora", "the LoRA run"), ("a10g-7b-20261124", "a10g-7b-20261124, the LoRA run")],
)
def test_what_to_take_is_named_once(name: str, said: str) -> None:
    trade = find_trade(facts(run("qlora"), run("lora", name=name), 0.3, evident=True))
    assert trade is not None
    assert (trade["run"], trade["take"]) == (name, said)


def test_two_runs_of_one_method_have_no_trade() -> None:
    assert find_trade(facts(run("qlora"), run("qlora", name="other"))) is None


def test_without_scores_there_is_no_trade() -> None:
    assert find_trade({"runs": [run("qlora"), run("lora")], "golden": []}) is None
