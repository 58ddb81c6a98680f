from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import Unreadable
from launcher.golden.gates import Gate, judge, parse_gate, parse_gates
from launcher.golden.metrics import METRICS

SCORES = {
    "base": {"exact_match": 0.5, "chrf": 0.6},
    "adapter": {"exact_match": 0.9, "chrf": 0.8},
    "merged": {"exact_match": 0.89, "chrf": 0.8},
}


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("exact_match>=0.8", Gate("exact_match>=0.8", "exact_match", ">=", 0.8)),
        ("exact_match>=base", Gate("exact_match>=base", "exact_match", ">=", 0, None, "base")),
        (" chrf < .5 ", Gate("chrf < .5", "chrf", "<", 0.5)),
        ("base.chrf==0", Gate("base.chrf==0", "chrf", "==", 0, "base")),
        (
            "merged.exact_match >= adapter - 1e-2",
            Gate("merged.exact_match >= adapter - 1e-2", "exact_match", ">=", -0.01, "merged", "adapter"),
        ),
        ("rouge_l>base+0.1", Gate("rouge_l>base+0.1", "rouge_l", ">", 0.1, None, "base")),
    ],
)
def test_gates_are_read(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    ("text", "character", "said"),
    [
        ("", 1, "a metric is expected"),
        ("exact_mach>=0.8", 1, "did you mean 'exact_match'"),
        ("exact_match", 12, "a comparison is expected"),
        ("exact_match=0.8", 12, "a comparison is expected"),
        ("exact_match>=", 14, "a number is expected"),
        ("exact_match>=80", 14, "scores run from 0 to 1"),
        ("exact_match>=-0.1", 14, "a number is expected"),
        ("exact_match>=bass", 14, "did you mean 'base'"),
        ("exact_match>=base-", 19, "a number is expected"),
        ("exact_match>=0.8 and chrf>0", 18, "too much"),
        ("merge.chrf>0", 1, "did you mean 'merged'"),
        ("merged.>0", 8, "no metric ''"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, character: int, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_gate(text)
    message = str(caught.value)
    assert f"character {character}:" in message
    assert said in message


def test_all_bad_gates_are_told_at_once() -> None:
    with pytest.raises(Unreadable) as caught:
        parse_gates(["chrf", "exact_match>=0.5", "nothing>0"])
    assert len(caught.value.problems) == 2


@given(text=st.text(max_size=30))
def test_any_text_is_a_gate_or_an_explained_error(text: str) -> None:
    try:
        gate = parse_gate(text)
    except Unreadable as error:
        assert "--gate" in str(error)
    else:
        assert gate.metric in METRICS


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("exact_match>=0.89", True),  # merged, which would be served
        ("exact_match>=0.9", False),
        ("adapter.exact_match>=0.9", True),
        ("exact_match>=base", True),
        ("merged.exact_match>=adapter-0.01", True),
        ("merged.exact_match>=adapter", False),
        ("exact_match>base+0.39", False),
        ("chrf==0.8", True),
        ("chrf<0.8", False),
        ("chrf<=0.8", True),
    ],
)
def test_gates_are_judged(text: str, passed: bool) -> None:
    [result] = judge([parse_gate(text)], SCORES)
    assert result.passed is passed, result.reason


def test_without_a_merged_model_the_adapter_is_looked_at() -> None:
    [result] = judge([parse_gate("exact_match>=0.9")], {"base": SCORES["base"], "adapter": SCORES["adapter"]})
    assert (result.subject, result.passed, result.value, result.bound) == ("adapter", True, 0.9, 0.9)


@pytest.mark.parametrize("text", ["merged.chrf>0", "chrf>=merged", "regex>0"])
def test_a_gate_on_what_was_not_scored_is_missed(text: str) -> None:
    [result] = judge([parse_gate(text)], {"base": {"chrf": 0.1}, "adapter": {"chrf": 0.9}})
    assert not result.passed
    assert "was not scored" in result.reason
