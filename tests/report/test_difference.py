"""Answers word by word: nothing is lost, and what differs is marked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.report.difference import segments

TEXT = st.text(st.sampled_from("ab cé.,\n<&"), max_size=60)


@given(TEXT, TEXT)
def test_the_text_is_whole_and_so_is_what_it_is_held_against(text: str, reference: str) -> None:
    found = segments(text, reference)
    assert "".join(piece for kind, piece in found if kind != "removed") == text
    if any(kind == "removed" for kind, _ in found):
        assert "".join(piece for kind, piece in found if kind != "added") == reference


def test_words_that_differ_are_marked() -> None:
    assert segments("the queue is billing", "the queue is login") == [
        ("same", "the queue is "), ("removed", "login"), ("added", "billing"),
    ]  # fmt: skip


def test_equal_texts_have_no_marks() -> None:
    assert segments("login", "login") == [("same", "login")]
    assert segments("", "") == []


def test_texts_without_anything_in_common_are_not_mixed() -> None:
    assert segments("billing", "refund the extra charge? I asked on Tuesday") == [("added", "billing")]


def test_long_texts_are_compared_by_lines() -> None:
    lines = [f"line {number} of a long answer\n" for number in range(500)]
    changed = [*lines[:250], "another line\n", *lines[251:]]
    found = segments("".join(changed), "".join(lines))
    assert [kind for kind, _ in found] == ["same", "removed", "added", "same"]
