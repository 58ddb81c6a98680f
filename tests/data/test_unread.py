"""Every key that is not read is named, wherever it stands; every key whose meaning is plain is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples
from unread import ANSWER, ROWS, USER, places

from launcher.data.formats import FORMATS, BadRow, Format, normalise
from launcher.data.inspect import inspect_data


def test_every_format_is_here() -> None:
    assert set(ROWS) == set(FORMATS)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=8).map(lambda text: f"zz_{text}")
)
@pytest.mark.parametrize("form", FORMATS)
def test_an_unknown_key_is_named_in_every_place(form: Format, key: str) -> None:
    for name, row in places(form, key, "lost").items():
        assert normalise(row, form)[1].unread == {name}, row


@pytest.mark.parametrize("form", FORMATS)
def test_the_check_counts_it_with_its_share_of_rows(form: Format, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for name, row in places(form, "mood", "fine").items():
        path.write_text("".join(json.dumps(item) + "\n" for item in [row, *[ROWS[form]] * 3]))
        assert f"{name} is given in 1 of 4 rows (25 %) and not read" in inspect_data(path).notes


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("form", FORMATS)
def test_a_key_that_holds_nothing_loses_nothing(form: Format, nothing: Any) -> None:
    for row in places(form, "mood", nothing).values():
        assert normalise(row, form)[1].unread == set()


@pytest.mark.parametrize("key", ["images", "image", "videos", "audio", "image_path", "image_urls"])
def test_what_a_text_model_cannot_take_is_warned_of(key: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{**ROWS["messages"], key: ["a.png"]}, {"messages": [{**USER, key: ["a.png"]}, ANSWER]}, ROWS["messages"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [finding for finding in inspect_data(path).findings.kept if finding.kind == "media"]
    assert [(finding.severity, finding.line) for finding in found] == [("warning", 1), ("warning", 2)]


@pytest.mark.parametrize("kind", ["image_url", "image", "input_audio", "video", "file"])
def test_a_part_that_is_no_text_is_warned_of_and_refused_where_it_is_all_there_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    part = {"type": kind, kind: {"url": "x"}}
    both = [{"type": "text", "text": "what is it?"}, part]
    path.write_text("".join(json.dumps({"messages": [{**USER, "content": c}, ANSWER]}) + "\n" for c in (both, [part])))
    found = [(finding.kind, finding.severity, finding.line) for finding in inspect_data(path).findings.kept]
    assert found == [("media", "warning", 1), ("media", "error", 2)]


SYSTEM = {"role": "system", "content": "Be kind."}
EARLIER = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "text"])
@pytest.mark.parametrize(
    ("more", "before"),
    [
        ({"system": "Be kind."}, [SYSTEM]),
        ({"system_prompt": "Be kind."}, [SYSTEM]),
        ({"system": "", "system_prompt": "Be kind."}, [SYSTEM]),
        ({"history": [["a", "b"]]}, EARLIER),
        ({"history": '[["a", "b"]]'}, EARLIER),
        ({"history": EARLIER}, EARLIER),
        ({"history": []}, []),
        ({"history": [["a", "b"]], "system": "Be kind."}, [SYSTEM, *EARLIER]),
    ],
)
def test_what_stands_beside_the_turns_is_read(form: Format, more: dict[str, Any], before: list[Any]) -> None:
    row, told = normalise({**ROWS[form], **more}, form)
    assert row["messages"] == [*before, USER, ANSWER]
    assert not told.unread


def test_a_system_column_that_says_something_else_than_the_system_turn_is_told() -> None:
    row, told = normalise({"messages": [SYSTEM, USER, ANSWER], "system": "Be rude."}, "messages")
    assert (row["messages"][0], told.unread) == (SYSTEM, {"system beside a system turn"})
    assert not normalise({"messages": [SYSTEM, USER, ANSWER], "system": " Be kind.\n"}, "messages")[1].unread


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"instruction": "Sum up.", "context": "Long.", "response": "Short"}, "Sum up.\n\nLong.", "Short"),
        ({"instruction": "Sum up.", "context": "", "response": "Short"}, "Sum up.", "Short"),
        ({"instruction": "Sum up.", "context": "Long.", "input": "In two words.", "output": "Short"},
         "Sum up.\n\nLong.\n\nIn two words.", "Short"),
        ({"instruction": "", "input": "What?", "output": "That"}, "What?", "That"),
        ({"instruction": None, "context": "What?", "output": "That"}, "What?", "That"),
        ({"instruction": "What?", "input": None, "output": "That"}, "What?", "That"),
    ],
)  # fmt: skip
def test_instructions_with_their_context(row: dict[str, Any], question: str, answer: str) -> None:
    messages = normalise(row, "alpaca")[0]["messages"]
    assert [message["content"] for message in messages] == [question, answer]


FUNCTION = {"name": "weather", "description": "tells it", "parameters": {"type": "object", "properties": {}}}
WHOLE = {"type": "function", "function": FUNCTION}


@pytest.mark.parametrize(
    "tools",
    [
        {"tools": [WHOLE]},
        {"tools": [FUNCTION]},
        {"tools": WHOLE},
        {"tools": FUNCTION},
        {"tools": json.dumps([WHOLE])},
        {"tools": json.dumps([FUNCTION])},
        {"tools": json.dumps(FUNCTION)},
        {"tools": [json.dumps(FUNCTION)]},
        {"tools": [{**WHOLE, "function": {**FUNCTION, "parameters": json.dumps(FUNCTION["parameters"])}}]},
        {"tools": [{"name": "weather", "description": "tells it", "input_schema": FUNCTION["parameters"]}]},
        {"functions": [FUNCTION]},
        {"functions": json.dumps([FUNCTION]), "tools": None},
        {"functions": [FUNCTION], "tools": ""},
    ],
)
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "text"])
def test_tools_in_every_shape_are_the_same(form: Format, tools: dict[str, Any]) -> None:
    row, told = normalise({**ROWS[form], **tools}, form)
    assert (row["tools"], told.unread) == ([WHOLE], set())


@pytest.mark.parametrize("tools", [None, "", "[]", [], {}, " "])
def test_no_tools(tools: Any) -> None:
    assert "tools" not in normalise({**ROWS["messages"], "tools": tools}, "messages")[0]


CALL = {"name": "weather", "arguments": {"city": "Bern"}}
SECOND = {"name": "time", "arguments": {}}


def called(*turns: dict[str, Any]) -> list[list[str]]:
    first = {"from": "human", "value": "both?"}
    messages = normalise({"conversations": [first, *turns]}, "sharegpt")[0]["messages"]
    return [[call["function"]["name"] for call in turn.get("tool_calls", [])] for turn in messages[1:]]


@pytest.mark.parametrize(
    "turns",
    [
        [{"from": "function_call", "value": json.dumps(CALL)}, {"from": "function_call", "value": json.dumps(SECOND)}],
        [{"from": "function_call", "value": json.dumps([CALL, SECOND])}],
        [{"from": "function_call", "value": [CALL, SECOND]}],
        [{"from": "function_call", "value": CALL}, {"from": "function_call", "value": SECOND}],
        [{"from": "gpt", "value": "", "tool_calls": [CALL, SECOND]}],
        [{"from": "gpt", "value": None, "tool_calls": json.dumps([CALL, SECOND])}],
        [{"role": "assistant", "content": None, "tool_calls": [{"function": CALL}, {"function": SECOND}]}],
    ],
)
def test_several_calls_of_one_turn_stay_one_turn(turns: list[dict[str, Any]]) -> None:
    results = [{"from": "observation", "value": "18"}, {"from": "observation", "value": "12:00"}]
    assert called(*turns, *results, {"from": "gpt", "value": "done"}) == [["weather", "time"], [], [], []]


def test_calls_with_a_result_between_them_are_two_turns() -> None:
    turns = [{"from": "function_call", "value": json.dumps(call)} for call in (CALL, SECOND)]
    result = {"from": "observation", "value": "18"}
    assert called(turns[0], result, turns[1], result) == [["weather"], [], ["time"], []]


def test_the_legacy_function_call_and_its_parameters_are_read() -> None:
    call = {"name": "weather", "parameters": {"city": "Bern"}}
    turns = [USER, {"role": "assistant", "content": None, "function_call": call}]
    result = {"role": "function", "name": "weather", "content": "18"}
    messages = normalise({"messages": [*turns, result, ANSWER]}, "messages")[0]["messages"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bern"}'}
    assert messages[2] == {"role": "tool", "content": "18", "name": "weather"}


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": {}, "zz": 1},
        {"function": {"name": "f", "arguments": {}}, "zz": 1},
        {"function": {"name": "f", "arguments": {}, "zz": 1}},
    ],
)
def test_a_key_of_a_call_is_named_on_either_level(call: dict[str, Any]) -> None:
    row = {"messages": [USER, {**ANSWER, "tool_calls": [call]}]}
    assert normalise(row, "messages")[1].unread == {"zz of a tool call"}


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        ({**ANSWER, "name": ["x"]}, "name of a turn"),
        ({**USER, "content": [{"type": "text", "text": "q"}, {"type": "thinking", "thinking": "t"}]},
         "thinking of a turn that is not the assistant's"),
        ({**ANSWER, "tool_calls": [{"id": ["x"], "function": CALL}]}, "id of a tool call"),
        ({**ANSWER, "tool_calls": [{"function": {**CALL, "parameters": {"a": 1}}}]}, "parameters of a tool call"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_of_a_known_key_is_named(turn: dict[str, Any], name: str) -> None:
    assert normalise({"messages": [USER, turn, ANSWER]}, "messages")[1].unread == {name}


@pytest.mark.parametrize("number", [7, "7"])
def test_ids_that_are_numbers_are_read(number: object) -> None:
    turns = [USER, {**ANSWER, "tool_calls": [{"id": number, "function": CALL}]}]
    result = {"role": "tool", "tool_call_id": 7, "content": "18"}
    row, told = normalise({"messages": [*turns, result, ANSWER]}, "messages")
    assert (row["messages"][1]["tool_calls"][0]["id"], row["messages"][2]["tool_call_id"]) == ("7", "7")
    assert not told.doubts


@pytest.mark.parametrize("calls", [[{"id": "a", "function": CALL}], [CALL]])
def test_a_result_of_no_call_is_warned_of(calls: list[Any], tmp_path: Path) -> None:
    result = {"role": "tool", "tool_call_id": "b", "content": "18"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [USER, {**ANSWER, "tool_calls": calls}, result, ANSWER]}) + "\n")
    [found] = inspect_data(path).findings.kept
    assert (found.severity, found.line, "tool_call_id 'b' fits no call" in found.message) == ("warning", 1, True)


@pytest.mark.parametrize("tool", [{"type": "function"}, {"function": {}}, {"function": 5}, {"foo": 1}, {"name": ""}])
def test_a_tool_without_a_function_is_refused(tool: dict[str, Any]) -> None:
    with pytest.raises(BadRow, match=r"tools\[1\] has no function with a name"):
        normalise({**ROWS["messages"], "tools": [WHOLE, tool]}, "messages")


def test_a_function_as_json_text_is_read() -> None:
    tools = [{"type": "function", "function": json.dumps(FUNCTION)}]
    assert normalise({**ROWS["messages"], "tools": tools}, "messages")[0]["tools"] == [WHOLE]


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({"loss_mask": [0, 1]}, True),
        ({"weight": 0}, True),
        ({"train": False}, True),
        ({"train": True}, False),
        ({"weight": 1}, False),
        ({"loss": 0.3}, False),
        ({"mood": 0}, False),
    ],
)
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "text"])
def test_a_mask_that_is_not_read_is_warned_of(form: Format, more: dict[str, Any], warned: bool) -> None:
    told = normalise({**ROWS[form], **more}, form)[1]
    assert [kind for kind, _ in told.doubts] == ["mask"] * warned


@pytest.mark.parametrize("key", ["mask", "do_train", "trainable"])
def test_a_mask_of_a_turn_that_is_not_read_is_warned_of(key: str) -> None:
    told = normalise({"messages": [USER, {**ANSWER, key: [0]}]}, "messages")[1]
    assert [kind for kind, _ in told.doubts] == ["mask"]
    assert told.unread == {f"{key} of a turn"}


@pytest.mark.parametrize("key", ["cot", "rationale", "thoughts", "reasoning_details"])
def test_a_thought_that_is_not_read_is_warned_of(key: str) -> None:
    for row in ({"messages": [USER, {**ANSWER, key: "hm"}]}, {**ROWS["messages"], key: "hm"}):
        assert [kind for kind, _ in normalise(row, "messages")[1].doubts] == ["thoughts"]
