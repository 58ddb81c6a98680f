from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.data.formats import (
    MAX_DEPTH,
    BadRow,
    as_templates_read,
    format_of,
    normalise,
    optional_keys,
    row_line,
)
from launcher.data.json_text import strict_json

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


def messages_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    form = format_of(row)
    assert form is not None
    messages: list[dict[str, Any]] = normalise(row, form)[0]["messages"]
    return messages


def problems_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    form = format_of(row)
    assert form is not None
    with pytest.raises(BadRow) as caught:
        normalise(row, form)
    return caught.value.problems


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"messages": [], "text": "x"}, "messages"),
        ({"conversations": []}, "sharegpt"),
        ({"instruction": "i", "output": "o", "text": "rendered"}, "alpaca"),
        ({"prompt": "p", "completion": "c"}, "prompt_completion"),
        ({"prompt": "p", "text": "t"}, "text"),
        ({"prompt": "p", "chosen": "c"}, None),
        ({}, None),
    ],
)
def test_format_is_told_by_its_keys(row: dict[str, Any], form: str | None) -> None:
    assert format_of(row) == form


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]},
        {"instruction": "hi", "input": "", "output": "ho"},
        {"prompt": "hi", "completion": "ho"},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"prompt": json.dumps(CHAT[:1]), "completion": json.dumps(CHAT[1:])},
        {"messages": json.dumps(CHAT)},
        {"conversations": json.dumps([{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}])},
        {"messages": [{"role": "User", "text": "hi"}, {"role": "bot", "text": "ho"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
                CHAT[1],
            ]
        },
    ],
)
def test_every_conversational_format_becomes_the_same_messages(row: dict[str, Any]) -> None:
    assert messages_of(row) == CHAT


def test_alpaca_input_and_system() -> None:
    messages = messages_of({"instruction": "Sum up.", "input": "Long text", "output": "Short", "system": "Be kind"})
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"] == "Sum up.\n\nLong text"


def test_sharegpt_roles_system_and_calls() -> None:
    row = {
        "system": "Be kind",
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bern"}}'},
            {"from": "observation", "value": "18"},
            {"from": "gpt", "value": "18 degrees"},
        ],
    }
    messages = messages_of(row)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bern"}'}


def test_tool_arguments_become_canonical_text_and_objects_again() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1,  "b":"ü"}'}}
    flat = {"name": "f", "arguments": {"a": 1, "b": "ü"}}
    row = {"messages": [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [call, flat]}]}
    messages = messages_of(row)
    assert messages[1]["content"] == ""
    assert {entry["function"]["arguments"] for entry in messages[1]["tool_calls"]} == {'{"a": 1, "b": "ü"}'}
    objects = as_templates_read(messages)[1]["tool_calls"]
    assert [entry["function"]["arguments"] for entry in objects] == [{"a": 1, "b": "ü"}] * 2
    assert isinstance(messages[1]["tool_calls"][0]["function"]["arguments"], str), "the row itself is left alone"


def test_tools_are_json_text_in_the_file_only() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": '{"type": "object"}'}}]
    row, _ = normalise({"messages": CHAT, "tools": json.dumps(tools)}, "messages")
    assert row["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert isinstance(json.loads(row_line(row))["tools"], str)


def test_keys_that_are_not_read_are_named() -> None:
    row = {"messages": [CHAT[0] | {"mood": "fine"}, CHAT[1] | {"score": 3, "empty": None}], "id": 7, "note": ""}
    assert normalise(row, "messages")[1].unread == {"mood of a turn", "score of a turn", "id"}


def test_optional_keys_tell_rows_apart() -> None:
    plain, _ = normalise({"messages": CHAT}, "messages")
    named, _ = normalise({"messages": [CHAT[0] | {"name": "Ann"}, CHAT[1]]}, "messages")
    assert optional_keys(plain) == 0
    assert optional_keys(named) != 0


DEEP: Any = {}
for _ in range(MAX_DEPTH + 1):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"messages": []}, "empty", "messages is empty"),
        ({"messages": "text"}, "field", "must be a list, not text"),
        ({"messages": [1]}, "field", "messages[0] must be an object"),
        ({"messages": [{"content": "x"}]}, "missing", "messages[0] has no role"),
        ({"messages": [{"role": "wizard", "content": "x"}, CHAT[1]]}, "role", '"wizard"'),
        ({"messages": [{"role": ["user"], "content": "x"}, CHAT[1]]}, "role", "no role"),
        ({"messages": [CHAT[0]]}, "no_assistant", "no assistant turn"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": " \n"}]}, "empty", "assistant's content is empty"),
        ({"messages": [{"role": "user", "content": ""}, CHAT[1]]}, "empty", "user's content is empty"),
        ({"messages": [{"role": "user", "content": 3}, CHAT[1]]}, "field", "must be text, not a number"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, CHAT[1]]}, "media", "nothing but"),
        ({"messages": [CHAT[0] | {"content": [{"type": "tool_use"}]}, CHAT[1]]}, "field", "other than text (tool_use)"),
        ({"messages": [CHAT[0] | {"tool_calls": [{"name": "f"}]}, CHAT[1]]}, "role", "belong to the assistant"),
        ({"messages": [CHAT[0], CHAT[1] | {"tool_calls": [{}]}]}, "tools", "no function name"),
        ({"messages": [CHAT[0], CHAT[1] | {"tool_calls": [{"name": "f", "arguments": "{"}]}]}, "tools", "not JSON"),
        ({"messages": [CHAT[0], CHAT[1] | {"tool_calls": [{"name": "f", "arguments": [1]}]}]}, "tools", "an object"),
        ({"messages": [CHAT[0], CHAT[1] | {"tool_calls": [{"name": "f", "arguments": DEEP}]}]}, "tools", "deeper"),
        ({"messages": CHAT, "tools": {"a": 1}}, "tools", "list of objects"),
        ({"messages": CHAT, "tools": [DEEP]}, "tools", "deeper"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": "\ud800"}]}, "text", "surrogate"),
        ({"instruction": "x"}, "missing", "output is missing"),
        ({"instruction": "", "output": ""}, "empty", "instruction is empty"),
        ({"prompt": "x", "completion": None}, "empty", "completion is empty"),
        ({"text": ""}, "empty", "text is empty"),
        ({"text": True}, "field", "a boolean"),
        ({"text": ["a", "b"]}, "field", "not a list: join its texts into one"),
        ({"text": "\udfff"}, "text", "surrogate"),
    ],
)
def test_bad_rows(row: dict[str, Any], kind: str, said: str) -> None:
    problems = problems_of(row)
    assert any(found == kind and said in message for found, message in problems), problems


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    assert len(problems_of({"messages": [{"role": "user", "content": ""}, {"role": "x"}, 3]})) == 3


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[-Infinity]", "1e999", "[" * 100_000, "1" * 5000, ""])
def test_strict_json_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json(text)
