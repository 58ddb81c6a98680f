"""Turns that their row says not to train, and thoughts: what is trained, what is written, what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.data.chat import (
    SHIPPED_TEMPLATES,
    ChatTemplate,
    load_chat_template,
    render,
    render_with_spans,
    thought_field,
)
from launcher.data.formats import BadRow, normalise
from launcher.data.inspect import inspect_data
from launcher.data.rendering import Renderer
from launcher.data.write import write_data

USER = {"role": "user", "content": "hi"}
GOOD = {"role": "assistant", "content": "right"}


def trained(row: dict[str, Any], **settings: Any) -> list[str]:
    """What is trained of a row of messages."""
    from launcher.data.chat import load_chat_template

    renderer = Renderer(load_chat_template("chatml"), None, **settings)
    rendered = renderer.render(renderer.written(normalise(row, "messages")[0]))
    return [rendered.text[start:end].removesuffix("<|im_end|>") for start, end in rendered.spans]


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


OFF = [{"weight": 0}, {"weight": 0.0}, {"weight": "0"}, {"weight": False}, {"train": False}, {"train": "false"},
       {"training": False}, {"loss": False}, {"train": 0}, {"weight": 0, "train": True}]  # fmt: skip
ON = [{}, {"weight": 1}, {"weight": 1.0}, {"weight": None}, {"train": True}, {"loss": True}, {"weight": "1"}]


@pytest.mark.parametrize("mark", OFF)
def test_a_turn_is_masked(mark: dict[str, Any]) -> None:
    row = {"messages": [USER, {**GOOD, "content": "wrong", **mark}, USER, GOOD]}
    assert trained(row) == ["right"]
    assert normalise(row, "messages")[1].masked == 1
    turns = [{"from": turn["role"], "value": turn["content"], **mark} for turn in row["messages"][:2]]
    shared = {"conversations": [*turns, {"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}
    assert [turn.get("training") for turn in normalise(shared, "sharegpt")[0]["messages"]] == [None, False, None, None]


@pytest.mark.parametrize("mark", ON)
def test_a_turn_is_trained(mark: dict[str, Any]) -> None:
    row = {"messages": [USER, {**GOOD, "content": "first", **mark}, USER, GOOD]}
    assert trained(row) == ["first", "right"]
    assert not normalise(row, "messages")[1].unread


@pytest.mark.parametrize("mark", [{"weight": 0.5}, {"weight": 2}, {"train": "maybe"}, {"loss": [1]}])
def test_a_weight_between_is_said(mark: dict[str, Any]) -> None:
    [key] = mark
    row = {"messages": [USER, {**GOOD, **mark}]}
    assert trained(row) == ["right"]
    assert normalise(row, "messages")[1].unread == {f"{key} of a turn, where it is neither 0 nor 1,"}


def test_a_turn_of_the_user_that_is_to_be_trained_is_said() -> None:
    assert normalise({"messages": [{**USER, "train": True}, GOOD]}, "messages")[1].unread
    assert not normalise({"messages": [{**USER, "train": False}, GOOD]}, "messages")[1].unread


def test_a_row_with_nothing_to_train_is_an_error() -> None:
    with pytest.raises(BadRow, match="masks every assistant turn"):
        normalise({"messages": [USER, {**GOOD, "weight": 0}]}, "messages")


def test_masks_are_in_the_counts_and_in_the_files(tmp_path: Path, bases: dict[str, Path]) -> None:
    plain = {"messages": [USER, GOOD, USER, GOOD]}
    masked = {"messages": [USER, {**GOOD, "weight": 0}, USER, GOOD]}
    both = inspect_data(write(tmp_path, plain, masked), base=bases["bytes"])
    assert list(both.rows.trained) == [2 * both.rows.trained[1], both.rows.trained[1]]
    assert both.rows.first_trained[0] < both.rows.first_trained[1]
    assert "1 turn is masked in 1 of 2 rows (50 %) (weight 0, train false): read, and not trained" in both.notes
    done = write_data(both, tmp_path, eval_fraction=0, seed=0)
    rows = [json.loads(line) for line in done.train_file.read_text().splitlines()]
    assert sorted(turn.get("training", True) for row in rows for turn in row["messages"]) == [False] + [True] * 7


THOUGHT = {**GOOD, "reasoning_content": "because"}
FOLDED = "<think>\nbecause\n</think>\n\nright"


@pytest.mark.parametrize(
    "turn",
    [
        THOUGHT,
        {**GOOD, "reasoning": "because"},
        {**GOOD, "thinking": " because\n"},
        {**GOOD, "thought": "because"},
        {**GOOD, "reasoning_content": [{"type": "text", "text": "because"}]},
        {**GOOD, "content": [{"type": "thinking", "thinking": "because"}, {"type": "text", "text": "right"}]},
        {**GOOD, "reasoning": "because", "reasoning_content": "because"},
    ],
)
def test_a_thought_is_trained_before_its_answer(turn: dict[str, Any]) -> None:
    row = {"messages": [USER, turn]}
    assert trained(row) == [FOLDED]
    assert trained(row, thoughts="drop") == ["right"]
    assert not normalise(row, "messages")[1].unread


@pytest.mark.parametrize("form", ["alpaca", "prompt_completion"])
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_a_thought_beside_the_answer_of_a_row(form: Any, key: str) -> None:
    names = ("instruction", "output") if form == "alpaca" else ("prompt", "completion")
    row, told = normalise({names[0]: "hi", names[1]: "right", key: "because"}, form)
    assert row["messages"][-1] == THOUGHT
    assert (told.thoughts, told.unread) == (1, set())


@pytest.mark.parametrize("turn", [THOUGHT, {**GOOD, "content": FOLDED}])
@pytest.mark.parametrize(
    "value",
    [
        {"enable_thinking": False},
        {"thinking": False},
        '{"enable_thinking": false}',
        {"enable_thinking": "false"},
        {"enable_thinking": "False"},
        {"thinking": 0},
    ],
)
def test_a_row_that_turns_thinking_off_has_no_thought(value: Any, turn: Any, tmp_path: Path) -> None:
    row = {"messages": [USER, turn], "chat_template_kwargs": value}
    assert trained(row) == ["right"]
    assert "thoughts are left out of 1 of 1 rows (100 %)" in "\n".join(inspect_data(write(tmp_path, row)).notes)


@pytest.mark.parametrize(("value", "told"), [("true", False), (True, False), (1, False), ("maybe", True), ([1], True)])
def test_a_row_that_leaves_thinking_on(value: Any, told: bool) -> None:
    row = {"messages": [USER, THOUGHT], "chat_template_kwargs": {"enable_thinking": value}}
    assert trained(row) == [FOLDED]
    unread = {"chat_template_kwargs.enable_thinking, where it is neither true nor false,"} if told else set()
    assert normalise(row, "messages")[1].unread == unread


@pytest.mark.parametrize(("beside", "doubts"), [("because", 0), (" because\n", 0), ("another", 1)])
def test_a_thought_in_two_places_is_written_once(beside: str, doubts: int) -> None:
    row = {"messages": [USER, {**GOOD, "content": FOLDED, "reasoning": beside}]}
    assert trained(row) == [FOLDED.replace("because", beside.strip())]
    assert len(normalise(row, "messages")[1].doubts) == doubts


def test_thoughts_that_differ_are_said() -> None:
    row = {"messages": [USER, {**GOOD, "reasoning": "one", "thinking": "another"}]}
    assert normalise(row, "messages")[1].unread == {"thinking of a turn"}


def test_a_thought_that_stands_in_the_answer_is_said_and_can_be_left_out(tmp_path: Path) -> None:
    row = {"messages": [USER, {**GOOD, "content": FOLDED}]}
    assert trained(row) == [FOLDED]
    assert trained(row, thoughts="drop") == ["right"]
    assert "<think> stands in the answers of 1 of 1 rows" in "\n".join(inspect_data(write(tmp_path, row)).notes)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{{ message.reasoning_content }}", "reasoning_content"),
        ("{{ message['thinking'] }}", "thinking"),
        ("{{ message.get('reasoning') }}", "reasoning"),
        ("{% if enable_thinking %}{{ message.content }}", None),
    ],
)
def test_where_a_template_reads_thoughts(text: str, field: str | None) -> None:
    assert thought_field(ChatTemplate("tokenizer", text, "<|im_end|>")) == field


OWN = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\n' + (message.FIELD or '') + '\n</think>\n\n' }}"
    "{% endif %}{{ message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("field", ["reasoning_content", "thinking"])
def test_a_template_that_reads_thoughts_writes_them_itself(field: str) -> None:
    template = ChatTemplate("tokenizer", OWN.replace("FIELD", field), "<|im_end|>")
    renderer = Renderer(template, None)
    written = renderer.written(normalise({"messages": [USER, THOUGHT]}, "messages")[0])
    assert written["messages"][1] == {**GOOD, field: "because"}
    rendered = renderer.render(written)
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["because\n</think>\n\nright<|im_end|>"]


def test_an_empty_thought_that_the_template_writes_is_not_trained() -> None:
    template = ChatTemplate("tokenizer", OWN.replace("FIELD", "reasoning_content"), "<|im_end|>")
    text, [(start, end)] = render_with_spans([USER, GOOD], template, {})
    assert text[start:end] == "right<|im_end|>"
    assert text[:start].endswith("<think>\n\n</think>\n\n")


def test_a_template_that_drops_thoughts_is_warned_of(tmp_path: Path, bases: dict[str, Path]) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(OWN.replace("(message.FIELD or '')", "('' if message.reasoning_content is defined else '')"))
    found = inspect_data(write(tmp_path, {"messages": [USER, THOUGHT]}), base=bases["bytes"], chat_template=str(own))
    assert [finding.kind for finding in found.findings.kept] == ["thoughts"]


def test_thoughts_of_earlier_turns_are_refused_with_the_way_out(tmp_path: Path, bases: dict[str, Path]) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(OWN.replace("FIELD", "reasoning_content"))
    path = write(tmp_path, {"messages": [USER, THOUGHT, USER, THOUGHT]})
    [finding] = inspect_data(path, base=bases["bytes"], chat_template=str(own)).findings.kept
    assert (finding.line, "mask those turns (weight 0)" in finding.message) == (1, True)
    path = write(tmp_path, {"messages": [USER, {**THOUGHT, "weight": 0}, USER, THOUGHT]})
    assert inspect_data(path, base=bases["bytes"], chat_template=str(own)).ok


def test_each_answer_may_have_a_row_of_its_own(tmp_path: Path, bases: dict[str, Path]) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(OWN.replace("FIELD", "reasoning_content"))
    turns = [USER, THOUGHT, USER, {**GOOD, "weight": 0}, USER, {**THOUGHT, "content": "last"}]
    path = write(tmp_path, {"messages": turns}, {"messages": [USER, THOUGHT]})
    settings: dict[str, Any] = {"base": bases["bytes"], "chat_template": str(own)}
    assert not inspect_data(path, **settings).ok
    report = inspect_data(path, **settings, thoughts="each")
    assert report.ok
    assert list(report.rows.lines) == [1, 1, 2]
    assert "2 rows become 3" in report.notes[0]
    done = write_data(report, tmp_path, eval_fraction=0, seed=0)
    rows = [json.loads(line)["messages"] for line in done.train_file.read_text().splitlines()]
    kept = sorted(
        [turn["content"] for turn in row if turn["role"] == "assistant" and turn.get("training") is not False]
        for row in rows
    )
    assert kept == [["last"], ["right"], ["right"]]
    half = inspect_data(path, **settings, thoughts="each").eval_split(0.5, 0)
    assert half in (frozenset({0, 1}), frozenset({2})), "the rows of one conversation stay on one side"


@pytest.mark.parametrize("field", ["reasoning_content", "thinking"])
def test_a_thought_in_the_answer_is_written_where_the_template_has_its_place(field: str) -> None:
    template = ChatTemplate("tokenizer", OWN.replace("FIELD", field), "<|im_end|>")
    renderer = Renderer(template, None)
    rendered = renderer.render(
        renderer.written(normalise({"messages": [USER, {**GOOD, "content": FOLDED}]}, "messages")[0])
    )
    assert rendered.text.count("<think>") == 1
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["because\n</think>\n\nright<|im_end|>"]


@pytest.mark.parametrize("turn", [THOUGHT, {**GOOD, "content": FOLDED}])
def test_a_template_that_cuts_thoughts_out_of_answers_is_warned_of(
    turn: Any, tmp_path: Path, bases: dict[str, Path]
) -> None:
    own = tmp_path / "own.jinja"
    cuts = "message.content.split('</think>')[-1]"
    own.write_text(
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
        "{{ " + cuts + " + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    found = inspect_data(write(tmp_path, {"messages": [USER, turn]}), base=bases["bytes"], chat_template=str(own))
    assert [(finding.kind, finding.severity) for finding in found.findings.kept] == [("thoughts", "warning")]
    kept = inspect_data(write(tmp_path, {"messages": [USER, turn]}), base=bases["bytes"])
    assert not kept.findings.kept


# How Qwen 3, GLM and others open an answer: an empty thought where none is wanted.
THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\n' + (message.reasoning_content or '') }}"
    "{{ '\n</think>\n\n' }}{% endif %}{{ message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if SWITCH is defined and SWITCH is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
@pytest.mark.parametrize(
    ("turn", "thoughts", "off"),
    [
        (GOOD, "train", True),
        (THOUGHT, "train", False),
        ({**GOOD, "content": FOLDED}, "train", False),
        (THOUGHT, "each", False),
        (THOUGHT, "drop", True),
        ({**GOOD, "content": FOLDED}, "drop", True),
    ],
)
def test_prompts_are_asked_as_the_rows_are_written(
    switch: str, turn: Any, thoughts: Any, off: bool, tmp_path: Path, bases: dict[str, Path]
) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(THINKING.replace("SWITCH", switch))
    path = write(tmp_path, {"messages": [USER, turn]})
    report = inspect_data(path, base=bases["bytes"], chat_template=str(own), thoughts=thoughts)
    wanted = {switch: False} if off else {}
    assert report.template_settings == wanted
    assert any(f"ask with {switch} false" in note for note in report.notes) is off
    assert write_data(report, tmp_path, eval_fraction=0, seed=0).record(path).template_settings == wanted
    template = load_chat_template(str(own), bases["bytes"])
    [(_, row)] = list(report.reading.rows()) if report.reading else []
    text = render(row["messages"], template, {})
    asked = render(row["messages"][:1], template, {}, add_generation_prompt=True, settings=wanted)
    assert text.startswith(asked)
    assert not off or text[len(asked) :].startswith("right<|im_end|>")


def test_a_row_that_cannot_be_asked_as_it_is_written_is_said(tmp_path: Path, bases: dict[str, Path]) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(OWN.replace("FIELD", "reasoning_content"))
    report = inspect_data(write(tmp_path, {"messages": [USER, GOOD]}), base=bases["bytes"], chat_template=str(own))
    assert report.template_settings == {}
    assert any("asked otherwise than it is trained" in note for note in report.notes)


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
def test_a_template_that_knows_no_thoughts_is_told_nothing(name: str, tmp_path: Path) -> None:
    report = inspect_data(write(tmp_path, {"messages": [USER, GOOD]}), chat_template=name)
    assert (report.template_settings, report.notes) == ({}, ())


def test_thoughts_left_out_of_many_turns(tmp_path: Path, bases: dict[str, Path]) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(THINKING.replace("SWITCH", "enable_thinking"))
    path = write(tmp_path, {"messages": [USER, THOUGHT, USER, {**GOOD, "content": "last"}]})
    settings: dict[str, Any] = {"base": bases["bytes"], "chat_template": str(own)}
    assert not inspect_data(path, **settings).ok
    report = inspect_data(path, **settings, thoughts="drop")
    assert (report.ok, list(report.rows.lines)) == (True, [1, 1])
    assert "1 row becomes 2" in report.notes[0]


@pytest.mark.parametrize(
    ("turn", "thoughts", "tokens"),
    [
        ({**GOOD, "reasoning": "a" * 317}, "train", 100),
        ({**GOOD, "content": f"<think>\n{'a' * 317}\n</think>\n\nright"}, "train", 100),
        ({**GOOD, "reasoning": "a" * 317}, "drop", 0),
        (GOOD, "train", 0),
    ],
)
def test_how_long_a_thought_gets_is_known(turn: Any, thoughts: Any, tokens: int, tmp_path: Path) -> None:
    path = write(tmp_path, {"messages": [USER, GOOD, USER, turn]}, {"messages": [USER, GOOD]})
    report = inspect_data(path, thoughts=thoughts)
    assert report.thought_tokens == tokens
    assert write_data(report, tmp_path, eval_fraction=0, seed=0).record(path).thought_tokens == tokens
