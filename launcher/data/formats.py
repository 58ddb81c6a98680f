"""The formats of training rows, and the one all conversational ones become: ``{"messages": […], "tools"?: […]}``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from launcher.data.content import MEDIA_KEYS, parts_of, text_of, without_thought
from launcher.data.told import BadRow as BadRow
from launcher.data.told import Row as Row
from launcher.data.told import Told, holds
from launcher.data.tools import MAX_DEPTH as MAX_DEPTH
from launcher.data.tools import tell_unasked, tools_of
from launcher.data.turns import THOUGHT_KEYS, doubt_unread, history_of, is_off, is_on, turns_in_text, turns_of

Format = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "text"]

# The keys that tell a format, asked in this order: an alpaca file may carry a rendered "text" beside its fields.
_SIGNS: tuple[tuple[Format, tuple[str, ...]], ...] = (
    ("messages", ("messages",)),
    ("sharegpt", ("conversations",)),
    ("alpaca", ("instruction",)),
    ("prompt_completion", ("prompt", "completion")),
    ("text", ("text",)),
)
FORMATS: tuple[Format, ...] = tuple(name for name, _ in _SIGNS)

_SYSTEM = ("system", "system_prompt")
_ANSWERS = ("output", "response")  # of alpaca's rows and of Dolly's
_OF_ALL = frozenset({*_SYSTEM, "tools", "functions", "history", "chat_template_kwargs"})
_KEYS: dict[Format, frozenset[str]] = {
    "messages": _OF_ALL | {"messages"},
    "sharegpt": _OF_ALL | {"conversations"},
    "alpaca": _OF_ALL | {"instruction", "context", "input", *_ANSWERS, *THOUGHT_KEYS},
    "prompt_completion": _OF_ALL | {"prompt", "completion", *THOUGHT_KEYS},
    "text": frozenset({"text"}),
}
_SWITCHES = ("enable_thinking", "thinking")  # of chat templates: whether thoughts are written
MASKED = 1 << 5  # the bit of `optional_keys` for rows with a turn that is not trained
PREFERENCE = frozenset({"chosen", "rejected"})


def format_of(row: Mapping[str, object]) -> Format | None:
    """The format whose keys a row has, or None."""
    if row.keys() >= PREFERENCE and not _answered(row):
        return None
    return next((name for name, keys in _SIGNS if all(key in row for key in keys)), None)


def _answered(row: Mapping[str, object]) -> bool:
    """Whether a row with preferences has an answer of its own beside them."""
    turns = row.get("messages", row.get("conversations"))
    last = turns[-1] if isinstance(turns, list) and turns else None
    speaker = last.get("role", last.get("from")) if isinstance(last, dict) else None
    return speaker in ("assistant", "gpt") or any(holds(row.get(key)) for key in ("output", "response", "completion"))


def normalise(row: Mapping[str, object], form: Format) -> tuple[Row, Told]:
    """A row of a known format as ``{"messages", "tools"?}`` or ``{"text"}``, and what is to be told of it.

    Messages have ``role`` (system, user, assistant, tool) and ``content`` (str), and where given ``tool_calls`` (whose
    ``arguments`` are canonical JSON text), ``tool_call_id``, ``name``, ``reasoning_content`` (a thought before the
    answer), and ``training``: false in a turn of the assistant that is not trained. Raises BadRow with all that is
    wrong.
    """
    told = Told()
    out = {"text": text_of(row["text"], "text", told)} if form == "text" else _conversation(row, form, told)
    _tell_keys(row, form, told)
    if not told.problems:
        try:
            row_line(out).encode("utf-8")
        except UnicodeEncodeError:
            told.say("text", "holds half a surrogate pair (\\ud800 to \\udfff), which is no character")
    if told.problems:
        raise BadRow(told.problems)
    return out, told


def _conversation(row: Mapping[str, object], form: Format, told: Told) -> Row:
    messages = _READERS[form](row, told)
    if not told.problems:
        _check_turns(messages, told)
        tell_unasked(messages, told)
    system = _system(row, messages, told)
    earlier = history_of(row.get("history"), told)
    if messages and messages[0]["role"] == "system":
        messages = [messages[0], *earlier, *messages[1:]]
    else:
        messages = [*system, *earlier, *messages]
    _template_settings(row.get("chat_template_kwargs"), messages, told)
    out: Row = {"messages": messages}
    tools = tools_of(row.get("tools"), told) or tools_of(row.get("functions"), told, "functions")
    if tools:
        out["tools"] = tools
    return out


def _system(row: Mapping[str, object], messages: Sequence[Row], told: Told) -> list[Row]:
    """The system turn that a column of the row holds; told where the turns have another of their own."""
    given = next((key for key in _SYSTEM if holds(row.get(key))), None)
    if given is None:
        return []
    text = text_of(row[given], given, told, may_be_empty=True)
    own = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
    if own is not None and text.strip() != own.strip():
        told.unread.add(f"{given} beside a system turn")
    return [{"role": "system", "content": text}] if text.strip() else []


def _template_settings(value: object, messages: Sequence[Row], told: Told) -> None:
    """What a row sets for the chat template: thinking turned off leaves out its thoughts, and no other is read."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            told.unread.add("chat_template_kwargs, which is not JSON,")
    if not isinstance(value, dict):
        if holds(value) and not isinstance(value, str):
            told.unread.add("chat_template_kwargs, which is no object,")
        return
    switches = {key: value[key] for key in _SWITCHES if holds(value.get(key))}
    if any(is_off(switch) for switch in switches.values()):
        told.silenced = sum(_silence(message) for message in messages if message["role"] == "assistant")
        told.thoughts = 0
    for key, switch in switches.items():
        if not is_off(switch) and not is_on(switch):
            told.unread.add(f"chat_template_kwargs.{key}, where it is neither true nor false,")
    others = (key for key in value if key not in _SWITCHES and holds(value[key]))
    told.unread.update(f"chat_template_kwargs.{key}" for key in others)


def _silence(message: Row) -> bool:
    """Take the thought out of a turn; whether there was one."""
    bare = without_thought(message["content"])
    found = message.pop("reasoning_content", None) is not None or bare != message["content"]
    message["content"] = bare
    return found


def _tell_keys(row: Mapping[str, object], form: Format, told: Told) -> None:
    """Every key of the row that holds something and is not read."""
    for key, value in row.items():
        if key in MEDIA_KEYS and holds(value):
            told.media.add(key)
        elif key not in _KEYS[form] and holds(value):
            told.unread.add(key)
            doubt_unread(key, value, told)
    for names in (_SYSTEM, _ANSWERS, ("tools", "functions"), THOUGHT_KEYS):
        given = [key for key in names if key in _KEYS[form] and holds(row.get(key))]
        told.unread.update(key for key in given[1:] if row[key] != row[given[0]])


def row_line(row: Mapping[str, object]) -> str:
    """A normalised row as one line of the trainer's file.

    Tool definitions are written as JSON text: the trainers read the file into columns of one type, which would
    give every definition the keys of all others.
    """
    out = dict(row)
    if "tools" in out:
        out["tools"] = json.dumps(out["tools"], ensure_ascii=False, allow_nan=False, default=str)
    return json.dumps(out, ensure_ascii=False, allow_nan=False)


def as_templates_read(messages: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Normalised messages with the arguments of tool calls as objects, which is what chat templates expect.

    Both trainers and vLLM parse them before they render; whoever renders must do the same.
    """
    return [
        {**message, "tool_calls": [_call_with_objects(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else dict(message)
        for message in messages
    ]


def _call_with_objects(call: Mapping[str, Any]) -> Row:
    function = dict(call["function"])
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}


def optional_keys(row: Mapping[str, Any]) -> int:
    """Which of the keys that not every row has are in a normalised row, as a bit mask."""
    messages = row.get("messages", ())
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    present = (
        "tools" in row,
        bool(calls),
        any("id" in call for call in calls),
        any("tool_call_id" in message for message in messages),
        any("name" in message for message in messages),
        any("training" in message for message in messages),
        any("reasoning_content" in message for message in messages),
    )
    return sum(1 << bit for bit, there in enumerate(present) if there)


def _thought_of_row(row: Mapping[str, object], told: Told) -> Row:
    """The thought before the one answer of a row, as a key of its turn."""
    key = next((key for key in THOUGHT_KEYS if holds(row.get(key))), None)
    given = ("", "") if key is None else parts_of(row[key], key, told, may_be_empty=True)
    thought = "\n".join(part for part in given if part)
    if not thought.strip():
        return {}
    told.thoughts += 1
    return {"reasoning_content": thought}


def _alpaca(row: Mapping[str, object], told: Told) -> list[Row]:
    given = [text_of(row.get(key), key, told, may_be_empty=True) for key in ("instruction", "context", "input")]
    question = "\n\n".join(text for text in given if text.strip())
    if not question:
        told.say("empty", "instruction is empty")
    name = next((key for key in _ANSWERS if key in row), None)
    if name is None:
        told.say("missing", "the field output is missing")
        return []
    answer = text_of(row[name], name, told)
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer, **_thought_of_row(row, told)},
    ]


def _prompt_completion(row: Mapping[str, object], told: Told) -> list[Row]:
    messages: list[Row] = []
    for name, role in (("prompt", "user"), ("completion", "assistant")):
        value = turns_in_text(row[name])
        if isinstance(value, list) and any(isinstance(item, dict) and {"role", "from"} & item.keys() for item in value):
            messages += turns_of(value, name, told)
        else:
            messages.append({"role": role, "content": text_of(value, name, told)})
    thought = _thought_of_row(row, told)
    if thought and messages and messages[-1]["role"] == "assistant":
        messages[-1] = {**messages[-1], **thought}
    return messages


_READERS: dict[str, Callable[[Mapping[str, object], Told], list[Row]]] = {
    "messages": lambda row, told: turns_of(row["messages"], "messages", told),
    "sharegpt": lambda row, told: turns_of(row["conversations"], "conversations", told),
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
}


def _check_turns(messages: Sequence[Row], told: Told) -> None:
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        told.say("no_assistant", "has no assistant turn, so there is nothing to learn")
    elif all(message.get("training") is False for message in answers):
        told.say("no_assistant", "masks every assistant turn (weight 0, train false), so there is nothing to learn")
