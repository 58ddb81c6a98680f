from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.cli.main import main
from launcher.errors import BadInput, QlError, Unreadable
from launcher.golden.rows import find_repeats, golden_notes, read_golden, repeats_note
from launcher.resources import resource


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "golden.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_a_row_is_read_with_every_way_to_name_its_targets(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"input": "2+2?", "target": "4", "id": 7, "metadata": {"topic": "sums"}},
        "",
        {"input": "a colour", "ideal": ["red", "blue"]},
        {
            "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "expected_output": "Ho",
        },
    )
    sums, colour, chat = read_golden(path)
    assert (sums.id, sums.targets, sums.metadata, sums.line) == ("7", ("4",), {"topic": "sums"}, 1)
    assert (colour.id, colour.targets, colour.line) == ("line-3", ("red", "blue"), 3)
    assert [message["role"] for message in chat.messages] == ["system", "user"]
    assert sums.prompt(conversational=True) == {"id": "7", "messages": [{"role": "user", "content": "2+2?"}]}
    assert sums.prompt(conversational=False) == {"id": "7", "text": "2+2?"}


def test_tools_reach_the_prompt(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "clock"}}
    [row] = read_golden(write(tmp_path, {"input": "time?", "target": "noon", "tools": [tool]}))
    assert row.prompt(conversational=True)["tools"] == [tool]


def test_all_problems_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"input": "good", "target": "yes", "id": "a"},
        "not json",
        {"input": "no target"},
        {"inptu": "typo", "target": "x"},
        {"input": "two", "target": "x", "ideal": "y"},
        {"input": "number", "target": 4},
        {"input": "empty", "target": " "},
        {"input": [{"role": "usr", "content": "x"}], "target": "y"},
        {"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "target": "y"},
        {"input": [], "target": "y"},
        {"input": "", "target": "y"},
        {"input": "same id", "target": "y", "id": "a"},
        "[1]",
    )
    with pytest.raises(BadInput) as caught:
        read_golden(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    text = str(caught.value)
    for said in (
        "not JSON",
        "has no target",
        "did you mean 'input'",
        "which mean the same",
        "write numbers in quotes",
        "target is empty",
        'input[0]: no role "usr"',
        "ends with the assistant's turn",
        "input is empty",
        "taken by line 1",
        "not a JSON object",
    ):
        assert said in text


def test_training_rows_are_told_from_a_golden_set_in_one_text(tmp_path: Path) -> None:
    text = {"text": "2+2 is 4"}
    with pytest.raises(BadInput) as caught:
        read_golden(write(tmp_path, text, text, text))
    (problem,) = caught.value.problems
    assert "each of its 3 rows is a row of plain text" in str(problem)
    assert '{"input": "…", "target": "…"}' in str(problem)
    with pytest.raises(BadInput) as caught:
        read_golden(write(tmp_path, text, {"input": "x", "target": "y"}))
    assert [str(problem.line) for problem in caught.value.problems] == ["1"]


USER, ANSWER = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {}}]}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ANSWER]},
        {"messages": [USER, {**ANSWER, "reasoning_content": "two and two"}]},
        {"messages": [USER, {**ANSWER, "content": "<think>\ntwo and two\n</think>\n\n4"}]},
        {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
        {"instruction": "2+2?", "input": "", "output": "4"},
        {"instruction": "", "context": "2+2?", "response": "4"},
        {"prompt": "2+2?", "completion": "4"},
        {"prompt": [USER], "completion": [ANSWER]},
        {"messages": json.dumps([USER, ANSWER])},
    ],
)
def test_a_row_of_every_training_format_is_a_golden_row(row: dict[str, Any], tmp_path: Path) -> None:
    [found] = read_golden(write(tmp_path, row))
    assert (found.input, found.targets) == ("2+2?", ("4",))
    assert [prompt.input for prompt in read_golden(write(tmp_path, row), conversational=False)] == ["2+2?"]


def test_the_last_answer_of_a_conversation_is_the_target(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, USER, ANSWER, {"role": "user", "content": "3+3?"}]
    tools = [{"name": "add", "parameters": {}}]
    row = {"messages": [*turns, {"role": "assistant", "content": "6"}], "tools": tools, "id": 7}
    [found] = read_golden(write(tmp_path, row))
    assert (found.messages, found.targets, found.id) == (turns, ("6",), "7")
    assert found.tools[0]["function"] == tools[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [USER, CALL]}, "a call of a tool"),
        ({"messages": [ANSWER]}, "nothing is asked"),
        ({"messages": [USER]}, "no assistant turn"),
        ({"prompt": "x", "completion": ""}, "completion is empty"),
    ],
)
def test_a_training_row_without_a_target_is_said(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        read_golden(write(tmp_path, row))


def test_a_model_of_plain_text_takes_only_text(tmp_path: Path) -> None:
    path = write(tmp_path, {"input": [{"role": "user", "content": "x"}], "target": "y"})
    with pytest.raises(BadInput, match="no chat template"):
        read_golden(path, conversational=False)


def test_an_empty_file_is_bad_and_a_missing_one_unreadable(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no row"):
        read_golden(write(tmp_path))
    with pytest.raises(Unreadable, match="no such"):
        read_golden(tmp_path / "absent.jsonl")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = ("input", "target", "ideal", "expected_output", "id", "tools", "metadata")


@settings(max_examples=examples(150))
@given(row=st.dictionaries(st.sampled_from(keys), json_values | st.just("some text"), max_size=5))
def test_no_row_makes_the_reader_fall_over_and_what_it_takes_the_schema_takes(
    row: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp(), row)
    schema = json.loads(resource("schemas", "golden.json").read_bytes())
    try:
        read_golden(path)
    except QlError as error:
        assert error.problems
    else:
        jsonschema.validate(row, schema, jsonschema.Draft202012Validator)


@settings(max_examples=examples(100))
@given(data=st.data())
def test_what_the_schema_takes_is_read_unless_it_is_blank(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9).filter(str.strip)
    user = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "tool"]), "content": texts})
    row = data.draw(
        st.fixed_dictionaries(
            {"input": texts | st.lists(user, min_size=1, max_size=3)},
            optional={"id": st.integers() | st.uuids().map(str), "metadata": st.dictionaries(texts, texts, max_size=2)},
        )
    )
    row[data.draw(st.sampled_from(["target", "ideal", "expected_output"]))] = data.draw(
        texts | st.lists(texts, min_size=1, max_size=3)
    )
    jsonschema.validate(row, json.loads(resource("schemas", "golden.json").read_bytes()))
    [read] = read_golden(write(tmp_path_factory.getbasetemp(), row))
    assert read.messages[-1]["content"] == (
        row["input"] if isinstance(row["input"], str) else row["input"][-1]["content"]
    )


def test_a_prompt_that_stands_twice_is_found_with_both_lines(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}]
    path = write(
        tmp_path,
        {"input": "a", "target": "x"},
        {"input": "A", "target": "y"},
        {"input": turns, "ideal": "y"},
        {"input": "a", "target": ["x"]},
        {"input": "a", "target": "x", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"input": [{"role": "system", "content": "s"}, *turns], "target": "x"},
    )
    rows = read_golden(path)
    assert [(repeat.line, repeat.first, repeat.same) for repeat in find_repeats(rows)] == [(3, 1, False), (4, 1, True)]
    (note,) = repeats_note(rows, path)
    assert note.startswith(f"{path}: line 3: the same prompt as line 1 with another target")
    assert repeats_note(rows[:2], path) == ()


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({"input": "q", "target": "a", "mood": "fine"}, {"mood"}),
        ({"input": "q", "target": "a", "mood": "", "id": 1, "metadata": {"x": 1}}, set()),
        ({"input": [{"role": "user", "content": "q", "mood": "fine"}], "target": "a"}, {"mood of a turn"}),
        ({"prompt": "q", "completion": "a", "mood": "fine", "id": 1}, {"mood"}),
        ({"messages": [{"role": "user", "content": "q", "mood": 1}, {"role": "assistant", "content": "a"}]},
         {"mood of a turn"}),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named(row: dict[str, Any], unread: set[str], tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({"input": "other", "target": "b"}) + "\n")
    rows = read_golden(path)
    assert [set(one.unread) for one in rows] == [unread, set()]
    wanted = tuple(f"{path}: {name} is given in 1 of 2 rows (50 %) and not read" for name in unread)
    assert golden_notes(rows, path) == wanted
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"prompt": "x", "completion": "y"}) + "\n")
    said = CliRunner().invoke(main, ["check", str(data), "--golden", str(path)]).output
    assert [note for note in wanted if f"note: {note}" not in said] == []


@pytest.mark.parametrize(
    ("beside", "before"),
    [
        ({"system": "Be kind."}, [{"role": "system", "content": "Be kind."}]),
        ({"system_prompt": "Be kind."}, [{"role": "system", "content": "Be kind."}]),
        ({"history": [["a", "b"]]}, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
    ],
)
@pytest.mark.parametrize("asked", ["q", [{"role": "user", "content": "q"}]])
def test_what_stands_beside_an_input_is_read(asked: Any, beside: Any, before: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text(json.dumps({"input": asked, "target": "a", **beside}) + "\n")
    [row] = read_golden(path)
    assert row.messages == [*before, {"role": "user", "content": "q"}]
    assert not row.unread


def test_functions_are_tools_in_a_golden_row_too(tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text(json.dumps({"input": "q", "target": "a", "functions": [{"name": "f", "parameters": {}}]}) + "\n")
    [row] = read_golden(path)
    assert row.tools == ({"type": "function", "function": {"name": "f", "parameters": {}}},)


def test_no_more_than_twenty_bad_rows_are_said(tmp_path: Path) -> None:
    path = write(tmp_path, *[{"input": f"q{number}", "target": 5 if number % 3 else "a"} for number in range(90)])
    with pytest.raises(BadInput) as caught:
        read_golden(path)
    assert len(caught.value.problems) == 21
    assert "and 40 more" in str(caught.value.problems[-1])
    with pytest.raises(BadInput) as caught:
        read_golden(path, most=None)
    assert len(caught.value.problems) == 60
