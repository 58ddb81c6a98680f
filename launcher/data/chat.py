"""Chat templates: a conversation as the text a model reads, and which part of that text is trained.

Rendering needs jinja2 alone, in an environment like the one transformers and vLLM render in, so the text is the same
everywhere (docs/data.md has the algorithm that every consumer follows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from launcher.data.base import added_tokens, base_tokens, read_tokenizer_config
from launcher.data.template_names import OWN_TEMPLATE, SHIPPED, SHIPPED_TEMPLATES, require_known
from launcher.errors import BadInput, Unreadable
from launcher.resources import resource

Message = Mapping[str, object]
Span = tuple[int, int]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template and the token that ends each turn.

    ``end_of_turn`` is None where the template writes the tokenizer's own ``eos_token``. ``control_tokens`` are the
    strings that structure a conversation: inside a message they would be read as structure. ``pad_token`` is the
    padding token of the family the template belongs to, for when no tokenizer is at hand to choose one.
    """

    name: str
    text: str
    end_of_turn: str | None
    control_tokens: tuple[str, ...] = ()
    eos_token: str = ""
    pad_token: str = ""


class _Generation(jinja2.ext.Extension):
    """Accepts ``{% generation %}``: the marker is for others; our spans come from `render_with_spans`."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 reads it so)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, as in transformers: variables set in the body must end with it there and here alike.
        block = jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body)
        return block.set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


@cache
def _compiled(text: str) -> jinja2.Template:
    return _environment().from_string(text)


def load_chat_template(name: str, base: Path | None = None) -> ChatTemplate:
    """The template called ``name``: one that ql ships, or with "tokenizer" the one in the folder ``base``.

    A name that ends in .jinja is a file with a template. Raises Unreadable for an unknown name, for a file that cannot
    be read, and for "tokenizer" without a folder or without a template in it; BadInput when it is not valid Jinja.
    """
    if name == OWN_TEMPLATE:
        return _base_template(base)
    if name.endswith(".jinja"):
        return _file_template(Path(name), base)
    require_known(name)
    end_of_turn, control, eos, pad = SHIPPED[name]
    text = resource("templates", "chat", f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(name, text, end_of_turn, control, eos, pad)


def _base_template(base: Path | None) -> ChatTemplate:
    hint = f"choose one that ql ships: {', '.join(SHIPPED_TEMPLATES)}"
    if base is None:
        raise Unreadable("the tokenizer's own chat template needs the base model's folder at hand", hint=hint)
    path = base / "chat_template.jinja"
    text: Any = path.read_text(encoding="utf-8") if path.is_file() else None
    if text is None:
        path = base / "tokenizer_config.json"
        text = read_tokenizer_config(base).get("chat_template")
    if isinstance(text, list):  # several named ones; the plain one is called default
        text = next((item.get("template") for item in text if item.get("name") == "default"), None)
    if not isinstance(text, str) or not text.strip():
        raise Unreadable(f"{base}: this base model has no chat template", hint=hint)
    _check_jinja(text, path, hint)
    return ChatTemplate(OWN_TEMPLATE, text, _end_of_turn(text, base))


def _file_template(path: Path, base: Path | None) -> ChatTemplate:
    """A template of the person's own. Without the base at hand it is taken to end turns with the tokenizer's eos."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: cannot be read as a chat template: {error}") from None
    _check_jinja(text, path, "a chat template is Jinja: transformers' documentation has examples")
    if base is not None:
        return ChatTemplate(path.name, text, _end_of_turn(text, base))
    _, _, eos, pad = SHIPPED["inst"]
    return ChatTemplate(path.name, text, None, eos_token=eos, pad_token=pad)


def _check_jinja(text: str, path: Path, hint: str) -> None:
    try:
        _compiled(text)
    except jinja2.TemplateError as error:
        raise BadInput(f"{path}: not a valid chat template: {error}", hint=hint) from error


def _end_of_turn(text: str, base: Path) -> str:
    """The token that a base's own template writes after an assistant's content, found by rendering a short chat.

    Raises BadInput when the text after the content does not begin with a special token of the tokenizer.
    """
    tokens = base_tokens(base)
    probe = "ql probe of the answer"
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": probe}]
    try:
        rendered = render(messages, text, tokens)
    except CannotRender as error:
        raise BadInput(f"{base}: its chat template cannot be used for training: {error}") from error
    after = rendered.rpartition(probe)[2].lstrip()
    fitting = [token for token in added_tokens(base) | set(tokens.values()) if after.startswith(token)]
    if not fitting:
        raise BadInput(
            f"{base}: its chat template ends an assistant's turn with no special token, so no end could be trained",
            hint="choose a template that ql ships: inst fits every base",
        )
    return max(fitting, key=len)


_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # what templates call a thought before an answer


def thought_field(template: ChatTemplate) -> str | None:
    """The key of a turn in which this template reads a thought; None where it writes contents alone."""
    named = (name for name in _THOUGHTS if re.search(rf"""\.{name}\b|["']{name}["']""", template.text))
    return next(named, None)


class CannotRender(ValueError):
    """The template refuses a conversation, or changes it so that no training span can be told."""


def render(
    messages: Sequence[Message],
    template: ChatTemplate | str,
    tokens: Mapping[str, str],
    *,
    tools: Sequence[Mapping[str, object]] | None = None,
    add_generation_prompt: bool = False,
    settings: Mapping[str, object] | None = None,
) -> str:
    """The conversation as text: what transformers' ``apply_chat_template(tokenize=False)`` gives.

    ``settings`` are the template's own, such as ``enable_thinking``.

    ``tokens`` are the special tokens by their transformers name (``bos_token``, ``eos_token``, …), as
    `launcher.data.special.template_tokens` chooses them. Raises CannotRender when the template raises.
    """
    text = template.text if isinstance(template, ChatTemplate) else template
    try:
        return _compiled(text).render(
            messages=messages,
            tools=tools or None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **tokens,
            **(settings or {}),
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise CannotRender(f"the chat template refuses this conversation: {error}") from error


def render_with_spans(
    messages: Sequence[Message],
    template: ChatTemplate,
    tokens: Mapping[str, str],
    *,
    tools: Sequence[Mapping[str, object]] | None = None,
) -> tuple[str, list[Span]]:
    """The conversation as text, and the character spans (start, end) that are trained, one per assistant turn.

    A turn with ``training`` false has none. A span runs from the end of the generation prompt, or of what the template
    writes before any answer, to the end of the token that closes the turn. All are found by rendering prefixes, so any
    template works whose text for some messages begins its text for more of them. Others (those that drop earlier
    reasoning, say) raise CannotRender: what they train on is not what they prompt with.
    """
    closing = template.end_of_turn or tokens.get("eos_token", "")
    if not closing:
        raise CannotRender("neither the template nor the tokenizer names a token that ends a turn")
    full = render(messages, template, tokens, tools=tools)
    spans: list[Span] = []
    for index, message in enumerate(messages):
        if message.get("role") != "assistant" or message.get("training") is False:
            continue
        prompt = render(messages[:index], template, tokens, tools=tools, add_generation_prompt=True)
        last = index + 1 == len(messages)
        upto = full if last else render(messages[: index + 1], template, tokens, tools=tools)
        end = upto.rfind(closing)
        if not full.startswith(upto) or not upto.startswith(prompt) or end < len(prompt):
            thinks = thought_field(template) is not None
            raise CannotRender(
                f"message {index + 1}: the chat template renders this assistant turn differently in a prompt and in "
                "the whole conversation, so its training span cannot be told" + (_DROPS_THOUGHTS if thinks else "")
            )
        begin = max(len(prompt), _before_answers(messages, index, full, template, tokens, tools))
        spans.append((begin, end + len(closing)))
    return full, spans


# What turns thinking off in the templates that can: Qwen, Gemma, GLM, SmolLM; DeepSeek, Granite.
NO_THOUGHTS: tuple[Mapping[str, object], ...] = ({"enable_thinking": False}, {"thinking": False})


def prompt_settings(template: ChatTemplate, tokens: Mapping[str, str]) -> Mapping[str, object] | None:
    """What the template must be told so that a prompt begins as a row without a thought does, to its answer.

    Empty where it need not be told anything; None where no setting makes the two equal.
    """
    question = {"role": "user", "content": "a question that no row has"}
    try:
        answered = [question, {"role": "assistant", "content": _ANY_ANSWER}]
        opening = render(answered, template, tokens).partition(_ANY_ANSWER)[0]
        for settings in ({}, *NO_THOUGHTS):
            asked = render([question], template, tokens, add_generation_prompt=True, settings=settings)
            if opening.startswith(asked) and not opening[len(asked) :].strip():
                return settings
    except CannotRender:
        return {}
    return None


_DROPS_THOUGHTS = (
    ": it drops the thoughts of earlier turns; --thoughts each trains every answer at the end of a row of its own, "
    "or mask those turns (weight 0), or take --chat-template chatml"
)
_ANY_ANSWER = "an answer that no row has"


def _before_answers(
    messages: Sequence[Message],
    index: int,
    full: str,
    template: ChatTemplate,
    tokens: Mapping[str, str],
    tools: Sequence[Mapping[str, object]] | None,
) -> int:
    """Where what a thinking template writes in this turn before any answer ends: an empty thought, or its opening.

    That is the template's and not the answer's: trained, an empty thought would teach the base not to think.
    """
    if "think" not in template.text:
        return 0
    turns = [*messages[:index], {"role": "assistant", "content": _ANY_ANSWER}, *messages[index + 1 :]]
    opening = render(turns, template, tokens, tools=tools).partition(_ANY_ANSWER)[0]
    differ = (place for place, (one, other) in enumerate(zip(opening, full, strict=False)) if one != other)
    return next(differ, min(len(opening), len(full)))
