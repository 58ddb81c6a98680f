"""What a person is told about an unknown word."""

from __future__ import annotations

import pytest

from launcher.errors import did_you_mean

CARDS = ["h100", "a100-40gb", "a100-80gb", "a10g", "4090"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("a10", "did you mean 'a10g'? There are also a100-40gb, a100-80gb"),
        ("a100", "did you mean 'a100-80gb'? There are also a100-40gb"),
        ("a100-4", "did you mean 'a100-40gb'?"),
        ("h-100", "did you mean 'h100'?"),
        ("", "known: 4090, a100-40gb, a100-80gb, a10g, h100"),
        ("tpu", "known: 4090, a100-40gb, a100-80gb, a10g, h100"),
    ],
)
def test_the_nearest_words_are_named(word: str, hint: str) -> None:
    assert did_you_mean(word, CARDS) == hint
