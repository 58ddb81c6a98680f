from __future__ import annotations

from dataclasses import dataclass

import pytest

from launcher.errors import Unreadable
from launcher.preparing.names import Names


@dataclass(frozen=True, kw_only=True)
class More(Names):
    data: str = "rows.jsonl"


def test_what_holds_more_gives_its_names_alone() -> None:
    assert More(preset="a10g-7b").names() == {
        "preset": "a10g-7b", "gpu": None, "model": None, "method": None, "backend": None,
    }  # fmt: skip


def test_a_name_that_was_given_wins() -> None:
    found = More(preset="a10g-7b", method="lora").names_or(More(preset="h100-7b", backend="unsloth"))
    assert found == {"preset": "a10g-7b", "gpu": None, "model": None, "method": "lora", "backend": "unsloth"}


def test_every_name_reaches_the_request() -> None:
    names = Names(preset="a10g-7b", gpu="h100", model="llama-3.1-8b", method="lora", backend="unsloth")
    request = names.look_up({"lora_r": 8})
    assert (request.preset and request.preset.name, request.gpu.name, request.model.name) == (
        "a10g-7b", "h100", "llama-3.1-8b",
    )  # fmt: skip
    assert request.overrides == {"lora_r": 8, "method": "lora", "backend": "unsloth"}


def test_too_little_to_plan_with() -> None:
    with pytest.raises(Unreadable, match="--model is missing"):
        Names(gpu="h100").look_up({})
