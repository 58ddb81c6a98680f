"""A mismatch is explained in one way, whether a file of the catalogue, a setting or a config has it."""

from __future__ import annotations

from typing import Any

import pytest

from launcher import json_schema
from launcher.catalog.check import check
from launcher.catalog.explain import explain
from launcher.configs.validate import check_text


@pytest.mark.parametrize(
    ("schema", "value", "message", "hint"),
    [
        ({"type": "integer"}, "x", "a is 'x', text", "expected a whole number"),
        ({"type": "number"}, "2e-4", "a is '2e-4', text",
         "expected a number; YAML 1.1 takes 2e-4 for text: write 0.0002 or 2.0e-4"),
        ({"type": "array", "items": {"type": "string"}}, "x", "a is 'x', text", "expected a list, in brackets: [x]"),
        ({"type": "array", "items": {"type": "object"}}, "x", "a is 'x', text", "expected a list"),
        ({"enum": ["cosine", "linear"]}, "cosin", "a cannot be 'cosin'", "did you mean cosine?"),
        ({"enum": ["cosine", "linear"]}, "zz", "a cannot be 'zz'", "expected cosine or linear"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "a is 'x', text", "expected a whole number"),
        ({"minimum": 1}, 0, "a must be at least 1, not 0", ""),
        ({"exclusiveMaximum": 1}, 1.0, "a must be less than 1, not 1", ""),
        ({"maximum": 10_000_001}, 10_000_002, "a must be at most 10000001, not 10000002", ""),
        ({"minimum": 1}, float("nan"), "a must be a finite number, not nan", ""),
        ({"minLength": 1}, "", "a must not be empty", ""),
        ({"minItems": 2}, ["x"], "a must have at least 2 items, not 1", ""),
        ({"uniqueItems": True}, ["x", "x"], "a names something twice: x, x", ""),
        ({"pattern": "/"}, "x", "a cannot be 'x'", "expected text with a /"),
        ({"required": ["b"]}, {}, "the key a is missing", "add b: …"),
        ({"properties": {"learning_rate": {}}, "additionalProperties": False}, {"lr": 1}, "unknown key 'a'",
         "it is called learning_rate here"),
        ({"properties": {"seed": {}}, "additionalProperties": False}, {"sede": 1}, "unknown key 'a'",
         "did you mean seed?"),
        ({"properties": {"seed": {}}, "additionalProperties": False}, {"xyz": 1}, "unknown key 'a'", "known: seed"),
    ],
    ids=str,
)  # fmt: skip
def test_every_keyword_has_its_words(schema: dict[str, Any], value: Any, message: str, hint: str) -> None:
    [mismatch] = json_schema.check(value, schema).errors
    said = explain(mismatch, "a")
    assert (said.message, said.hint) == (message, hint)


def test_catalogue_and_validator_say_the_same() -> None:
    text = "title: x\ngpu: a10g\nmodel: mistral-7b\nrecipe: 7\nspeed: 9\n"
    said = [problem.message for problem in check({"title": "x", "gpu": "a10g", "model": "mistral-7b", "recipe": 7,
                                                  "speed": 9}, "preset.json")]  # fmt: skip
    assert sorted(said) == sorted(found.message for found in check_text(text, file="mine.yaml", kind="preset"))
    assert len(said) == 2
