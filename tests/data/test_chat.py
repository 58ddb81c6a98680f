from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.data.chat import (
    OWN_TEMPLATE,
    SHIPPED_TEMPLATES,
    CannotRender,
    ChatTemplate,
    load_chat_template,
    render,
    render_with_spans,
)
from launcher.data.special import template_tokens
from launcher.errors import BadInput, Unreadable

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " hi "},
    {"role": "assistant", "content": "\n42 "},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "7"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
def test_trained_is_what_the_assistant_says_and_the_end_of_its_turn(name: str) -> None:
    template = load_chat_template(name)
    text, spans = render_with_spans(CHAT, template, TOKENS)
    end = template.end_of_turn or "</s>"
    assert [text[start:stop] for start, stop in spans] == [f"42{end}", f"7{end}"]
    assert "Be kind." in text
    assert text.startswith("<s>")
    assert text.count("<s>") == 1


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
@pytest.mark.parametrize("arguments", [{"city": "Zürich"}, '{"city": "Zürich"}'])
def test_tool_calls_and_results_have_their_place(name: str, arguments: Any) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": arguments}}
    chat = [
        CHAT[1],
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "18 C"},
        {"role": "assistant", "content": "18 degrees"},
    ]
    tools = [{"type": "function", "function": {"name": "weather", "description": "tells <the> weather"}}]
    text, spans = render_with_spans(chat, load_chat_template(name), TOKENS, tools=tools)
    called = text[slice(*spans[0])]
    assert called.count('{"city": "Zürich"}') == 2
    assert "tells <the> weather" in text[: spans[0][0]]
    assert "18 C" in text[spans[0][1] : spans[1][0]]


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
def test_system_text_is_never_lost(name: str) -> None:
    for chat in (
        [CHAT[0], CHAT[2]],
        [CHAT[0], CHAT[1], CHAT[2]],
        [CHAT[1], CHAT[2], CHAT[0], CHAT[3], CHAT[4]],
    ):
        assert "Be kind." in render(chat, load_chat_template(name), TOKENS)
    assert "Be kind." in render(CHAT[:1], load_chat_template(name), TOKENS, add_generation_prompt=True)


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
def test_unknown_role_is_refused(name: str) -> None:
    with pytest.raises(CannotRender, match="wizard"):
        render([{"role": "wizard", "content": "x"}], load_chat_template(name), TOKENS)


def test_base_without_bos_gets_none() -> None:
    assert render(CHAT[1:3], load_chat_template("chatml"), {}).startswith("<|im_start|>user\nhi<|im_end|>")


def test_template_names() -> None:
    with pytest.raises(Unreadable, match="chatml"):
        load_chat_template("chatlm")
    with pytest.raises(Unreadable, match="at hand"):
        load_chat_template(OWN_TEMPLATE)


def base_with(folder: Path, template: Any, *, file: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    config: dict[str, Any] = {"eos_token": "</s>", "added_tokens_decoder": {"2": {"content": "<end>"}}}
    if file:
        (folder / "chat_template.jinja").write_text(template)
    else:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


SIMPLE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.mark.parametrize("file", [False, True])
def test_base_models_own_template(file: bool, tmp_path: Path) -> None:
    template = load_chat_template(OWN_TEMPLATE, base_with(tmp_path, SIMPLE, file=file))
    assert template.end_of_turn == "<end>"
    text, spans = render_with_spans(CHAT[3:], template, {})
    assert [text[start:stop] for start, stop in spans] == ["7<end>"]


def test_named_templates_of_a_base(tmp_path: Path) -> None:
    named = [{"name": "rag", "template": "x"}, {"name": "default", "template": SIMPLE}]
    assert load_chat_template(OWN_TEMPLATE, base_with(tmp_path, named)).text == SIMPLE


def test_template_that_forgets_earlier_answers_cannot_be_spanned(tmp_path: Path) -> None:
    forgetful = SIMPLE.replace("{{ m.content }}", "{{ m.content if loop.last or m.role == 'user' else '-' }}")
    template = load_chat_template(OWN_TEMPLATE, base_with(tmp_path, forgetful))
    assert render_with_spans(CHAT[3:], template, {})[1]
    with pytest.raises(CannotRender, match="message 2"):
        render_with_spans(CHAT[1:], template, {})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for %}", "not a valid chat template"),
        ("{{ raise_exception('no') }}", "cannot be used"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "no special token"),
    ],
)
def test_templates_of_a_base_that_cannot_train(template: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        load_chat_template(OWN_TEMPLATE, base_with(tmp_path, template))


def test_base_without_template(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no chat template"):
        load_chat_template(OWN_TEMPLATE, base_with(tmp_path, None))


def test_template_cannot_reach_the_interpreter() -> None:
    escape = ChatTemplate("x", "{{ messages.__class__.__mro__ }}", "e")
    with pytest.raises(CannotRender):
        render(CHAT, escape, {})


def test_content_is_never_run_as_a_template() -> None:
    chat = [{"role": "user", "content": "{{ 1 + 1 }} {% raw %}"}]
    assert "{{ 1 + 1 }} {% raw %}" in render(chat, load_chat_template("chatml"), {})


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_template_tokens_end_turns_with_eos(name: str, kind: str, bases: dict[str, Path]) -> None:
    template = load_chat_template(name)
    tokens = template_tokens(bases[kind], template)
    assert render(CHAT, template, tokens).rstrip("\n").endswith(tokens["eos_token"])
    assert tokens["pad_token"] != tokens["eos_token"]
