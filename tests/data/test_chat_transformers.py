"""Our rendering, spans and labels against transformers' own, for odd conversations."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.data.chat import SHIPPED_TEMPLATES, load_chat_template, render, render_with_spans
from launcher.data.special import template_tokens
from launcher.data.tokens import Length, Rendered, Tokenizing

transformers = pytest.importorskip("transformers")

ODD = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["  x", "x\n", "\n\n", "[INST]", "<|im_end|>", "</s>", "{{ x }}", "é漢🙂", "<start_of_turn>", "7"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ODD,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(ODD, children, max_size=3),
    max_leaves=6,
)
CALL = st.builds(
    lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
    ODD,
    st.dictionaries(ODD, JSON, max_size=3),
)
ANSWER = ODD.filter(lambda text: bool(text.strip()))
TURN = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "tool", "system"]), ODD
    ),
    st.builds(lambda content: {"role": "assistant", "content": content}, ANSWER),
    st.builds(
        lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
        ODD,
        st.lists(CALL, min_size=1, max_size=2),
    ),
)
CHATS = st.lists(TURN, min_size=1, max_size=5)
TOOLS = st.none() | st.lists(st.dictionaries(ODD, JSON, max_size=2), max_size=2)


@cache
def tokenizer_of(base: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(base)


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chat=CHATS, tools=TOOLS)
def test_equal_to_transformers(
    name: str, kind: str, chat: list[Any], tools: list[Any] | None, bases: dict[str, Path]
) -> None:
    template, base = load_chat_template(name), bases[kind]
    tokens = template_tokens(base, template)
    tokenizer = tokenizer_of(base)
    tokenizer.chat_template = template.text
    tokenizer.eos_token, tokenizer.pad_token = tokens["eos_token"], tokens["pad_token"]

    for prompt in (False, True):
        theirs = tokenizer.apply_chat_template(chat, tools=tools, tokenize=False, add_generation_prompt=prompt)
        assert render(chat, template, tokens, tools=tools, add_generation_prompt=prompt) == theirs

    text, spans = render_with_spans(chat, template, tokens, tools=tools)
    measure = Tokenizing(base, template)
    row = Rendered(text, tuple(spans))
    ids, labels = measure.labels(row)
    trained = [index for index, label in enumerate(labels) if label != -100]
    assert measure.lengths([row]) == [Length(len(ids), len(trained), trained[0] if trained else None)]
    theirs = tokenizer.apply_chat_template(chat, tools=tools, return_dict=True, return_assistant_tokens_mask=True)
    assert theirs["input_ids"] == ids
    assert theirs["assistant_masks"] == [int(label != -100) for label in labels]

    # A prompt is the beginning of the conversation it belongs to, in tokens too.
    for index, message in enumerate(chat):
        if message["role"] == "assistant":
            asked = render(chat[:index], template, tokens, tools=tools, add_generation_prompt=True)
            start = measure.labels(Rendered(asked, ()))[0]
            assert ids[: len(start)] == start
