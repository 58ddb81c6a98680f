"""Who decided a value is data; the words are made of it in one place, and read back only from old runs."""

from __future__ import annotations

import pytest

from launcher.planning.decide import make_plan
from launcher.preparing.request import make_request
from launcher.records.decision import AS_IN_QLORA, Decision, sources_of


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Decision(7, "you"), "set by you"),
        (Decision(7, "recipe", name="qlora"), "recipe qlora"),
        (Decision(7, "preset", "rows are short", "a10g-7b"), "preset a10g-7b: rows are short"),
        (Decision("lora", "preset", "the preset's recipe"), "the preset's recipe"),
        (Decision(7, "planner", "fits"), "fits"),
        (Decision(7, "file", "config.yaml:3"), "config.yaml:3"),
        (Decision(7, "pair", AS_IN_QLORA, "lora"), "recipe lora: as in the QLoRA run that it is compared with"),
    ],
    ids=str,
)
def test_the_words_are_made_of_the_source(decision: Decision, reason: str) -> None:
    assert decision.reason == reason


def test_a_plan_says_who_decided_each_value() -> None:
    plan = make_plan(make_request(preset="a10g-7b", settings={"lora_r": 8, "method": "qlora"}))
    assert {key: getattr(plan, key) for key in plan.decisions} == {k: one.value for k, one in plan.decisions.items()}
    assert plan.sources["lora_r"] == plan.sources["method"] == "you"
    assert plan.sources["learning_rate"] == "recipe"
    assert plan.sources["micro_batch_size"] == "planner"
    assert plan.record() == {**plan.to_dict(), "sources": plan.sources}


def test_an_old_run_says_it_in_its_reasons() -> None:
    reasons = {"seed": "set by you", "lora_r": f"recipe lora: {AS_IN_QLORA}", "keep": "recipe lora"}
    assert sources_of({"reasons": reasons}) == {"seed": "you", "lora_r": "pair"}
    assert sources_of({"reasons": reasons, "sources": {"seed": "recipe"}}) == {"seed": "recipe"}
