"""The golden set prompt by prompt: the worst first, each with what changed."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.report.prompts import compare_prompts, main_metric
from manifests import new_manifest


def row(identity: str, output: str, score: float, asked: Any = None) -> dict[str, Any]:
    asked = asked or f"Which queue? {identity} ticket"
    return {"id": identity, "input": asked, "targets": ["x"], "output": output, "exact_match": score, "chrf": score / 2}


ANSWERS = {
    "base": [row("a", "x", 1.0), row("b", "y", 0.0), row("c", "y", 0.0)],
    "adapter": [row("a", "y", 0.0), row("b", "x", 1.0), row("c", "z", 0.0)],
    "merged": [row("a", "y", 0.0), row("b", "x", 1.0), row("c", "q", 0.0)],
}


def test_the_worst_come_first_and_what_training_broke_before_all() -> None:
    assert [prompt["id"] for prompt in compare_prompts(ANSWERS, "exact_match")] == ["a", "c", "b"]


def test_what_each_prompt_says_of_itself() -> None:
    broken, wrong, right = compare_prompts(ANSWERS, "exact_match")
    assert (broken["right"], broken["change"], broken["merged"]) == ("no", "worse", "same")
    assert (wrong["right"], wrong["change"], wrong["merged"]) == ("no", "same", "differs")
    assert (right["right"], right["change"], right["merged"]) == ("yes", "better", "same")
    assert [mark["text"] for mark in broken["marks"]] == ["✓ right", "✗ wrong", "✗ wrong"]
    assert broken["short"] == "a ticket"  # what all prompts begin with tells none apart
    assert wrong["answers"][2]["segments"] == [("added", "q")]


def test_without_a_merged_model_the_adapter_is_looked_at() -> None:
    found = compare_prompts({"adapter": ANSWERS["adapter"]}, "exact_match")
    assert [prompt["id"] for prompt in found][-1] == "b"


def test_a_conversation_is_shown_with_its_roles() -> None:
    asked = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    assert compare_prompts({"base": [row("a", "x", 1.0, asked)]}, "exact_match")[0]["input"] == (
        "system: Be short.\nuser: Hello"
    )


def test_no_answers_no_prompts() -> None:
    assert compare_prompts({}, "exact_match") == []


@pytest.mark.parametrize(
    ("gates", "metric"),
    [
        ([], "exact_match"),
        (["chrf>=0.5"], "chrf"),
        ([" merged.token_f1 >= base"], "token_f1"),
        (["contains > 0"], "contains"),
    ],
)
def test_the_first_gate_says_what_is_right(gates: list[str], metric: str) -> None:
    assert main_metric(new_manifest(plan={}, golden={"path": "g", "sha256": "a", "rows": 1, "gates": gates})) == metric
