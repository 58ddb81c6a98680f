"""What a person is told about an unknown word."""

from __future__ import annotations

import pytest

from launcher.cli.main import VERBS
from launcher.errors import ELSEWHERE, did_you_mean, nearest, remedy
from launcher.planning.plan import SETTINGS

CARDS = ["h100", "a100-40gb", "a100-80gb", "a10g", "4090"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("a10", "did you mean 'a10g'? There are also a100-40gb, a100-80gb"),
        ("a100", "did you mean 'a100-40gb'? There are also a100-80gb"),
        ("a100-4", "did you mean 'a100-40gb'?"),
        ("h-100", "did you mean 'h100'?"),
        ("", "known: 4090, a100-40gb, a100-80gb, a10g, h100"),
        ("tpu", "known: 4090, a100-40gb, a100-80gb, a10g, h100"),
    ],
)
def test_the_nearest_words_are_named(word: str, hint: str) -> None:
    assert did_you_mean(word, CARDS) == hint


@pytest.mark.parametrize(("word", "meant"), [("A10G-7B", "a10g-7b"), ("h100_7B", "h100-7b"), ("lora_R", "lora_r")])
def test_the_nearest_name_is_that_of_another_case(word: str, meant: str) -> None:
    assert nearest(word, ["lora_r", "lora_alpha", "h100-7b", "a10g-7b", "a10g-13b"]) == meant
    assert f"did you mean {meant!r}?" in did_you_mean(word, ["lora_r", "h100-7b", "a10g-7b"])


@pytest.mark.parametrize(
    ("word", "meant"),
    [("lr", "learning_rate"), ("max_seq_length", "sequence_len"), ("per-device-train-batch-size", "micro_batch_size")],
)
def test_a_word_of_another_trainer_is_known_by_its_meaning(word: str, meant: str) -> None:
    known = [
        "lr_scheduler",
        "excess_length",
        "effective_batch_size",
        "learning_rate",
        "sequence_len",
        "micro_batch_size",
    ]
    assert did_you_mean(word, known) == f"did you mean {meant!r}?"


def test_every_word_from_elsewhere_leads_to_a_setting_or_a_verb() -> None:
    assert set(ELSEWHERE.values()) <= {*SETTINGS, *VERBS}
    assert not ELSEWHERE.keys() & {*SETTINGS, *VERBS}


def test_an_error_of_the_file_system_says_what_to_do() -> None:
    assert "allowed" in remedy(PermissionError(13, "Permission denied"))
    assert "allowed" in remedy(OSError(30, "Read-only file system"))
    assert "room" in remedy(OSError(28, "No space left on device"))
