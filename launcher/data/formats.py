"""The formats of training rows, and the one all conversational ones become: ``{"messages": […], "tools"?: […]}``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

Format = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "text"]
Row = dict[str, Any]

# The keys that tell a format, asked in this order: an alpaca file may carry a rendered "text" beside its fields.
_SIGNS: tuple[tuple[Format, tuple[str, ...]], ...] = (
    ("messages", ("messages",)),
    ("sharegpt", ("conversations",)),
    ("alpaca", ("instruction",)),
    ("prompt_completion", ("prompt", "completion")),
    ("text", ("text",)),
)
FORMATS: tuple[Format, ...] = tuple(name for name, _ in _SIGNS)

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
_IGNORED_IN_MESSAGE = ("weight", "train", "loss", "reasoning_content", "thinking")  # people expect these to act
MAX_DEPTH = 64  # of tool definitions and arguments: deeper ones are an accident or an attack on a recursive reader


class BadRow(ValueError):
    """A row that cannot be trained on. ``problems`` are all that is wrong with it, each with its kind."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(message for _, message in self.problems))


class _Problems(list[tuple[str, str]]):
    def say(self, kind: str, message: str) -> None:
        self.append((kind, message))


def format_of(row: Mapping[str, object]) -> Format | None:
    """The format whose keys a row has, or None."""
    return next((name for name, keys in _SIGNS if all(key in row for key in keys)), None)


def strict_json(text: str) -> Any:
    """``json.loads`` without what JSON does not have: NaN, Infinity, and numbers too large for a float.

    Raises ValueError, also for nesting deeper than the interpreter's stack; RepeatedKey, one of these, for an object
    that has a key twice.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"the number {literal[:20]} is too large")
    return number


class RepeatedKey(ValueError):
    """A key that stands twice in one object. Readers of JSON keep the last value, and the person may mean the other."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise RepeatedKey(f"the key {twice[:40]!r} stands twice in one object")
    return found


_PARSERS: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite}
_DECODER = json.JSONDecoder(object_pairs_hook=_once_each, **_PARSERS)
_LENIENT = json.JSONDecoder(**_PARSERS)


def end_of_json(text: str, start: int) -> int:
    """Where a JSON value at ``text[start:]`` ends in which a key stands twice. Raises ValueError."""
    return _LENIENT.raw_decode(text, start)[1]


def scan_json(text: str, start: int) -> tuple[Any, int]:
    """One strict JSON value at ``text[start:]`` and where it ends. Raises ValueError."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def normalise(row: Mapping[str, object], form: Format) -> tuple[Row, set[str]]:
    """A row of a known format as ``{"messages", "tools"?}`` or ``{"text"}``, and the names of fields that are ignored.

    Messages have ``role`` (system, user, assistant, tool) and ``content`` (str), and where given ``tool_calls`` (whose
    ``arguments`` are canonical JSON text), ``tool_call_id`` and ``name``. Raises BadRow with all that is wrong.
    """
    problems = _Problems()
    ignored: set[str] = set()
    if form == "text":
        out: Row = {"text": _text(row["text"], "text", problems)}
    else:
        messages = _READERS[form](row, problems, ignored)
        if not problems:
            _check_turns(messages, problems)
        out = {"messages": messages}
        tools = _tools(row.get("tools"), problems)
        if tools:
            out["tools"] = tools
    if not problems:
        try:
            row_line(out).encode("utf-8")
        except UnicodeEncodeError:
            problems.say("text", "holds half a surrogate pair (\\ud800 to \\udfff), which is no character")
    if problems:
        raise BadRow(problems)
    return out, ignored


def row_line(row: Mapping[str, object]) -> str:
    """A normalised row as one line of the trainer's file.

    Tool definitions are written as JSON text: the trainers read the file into columns of one type, which would
    give every definition the keys of all others.
    """
    out = dict(row)
    if "tools" in out:
        out["tools"] = json.dumps(out["tools"], ensure_ascii=False, allow_nan=False)
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
    )
    return sum(1 << bit for bit, there in enumerate(present) if there)


def _text(value: Any, name: str, problems: _Problems, *, may_be_empty: bool = False) -> str:
    """A text field: a string, or OpenAI's list of text parts."""
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        value = "".join(part.get("text") or "" for part in value if isinstance(part.get("text"), str))
    if value is None:
        value = ""
    if not isinstance(value, str):
        parts = "a list with parts other than text" if isinstance(value, list) else _kind(value)
        problems.say("field", f"{name} must be text, not {parts}")
        return ""
    if not may_be_empty and not value.strip():
        problems.say("empty", f"{name} is empty")
    return value


def _kind(value: Any) -> str:
    names = {str: "text", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "null")


def _alpaca(row: Mapping[str, object], problems: _Problems, ignored: set[str]) -> list[Row]:
    messages = []
    system = _text(row.get("system"), "system", problems, may_be_empty=True)
    if system.strip():
        messages.append({"role": "system", "content": system})
    question = _text(row["instruction"], "instruction", problems)
    more = _text(row.get("input"), "input", problems, may_be_empty=True)
    if more.strip():
        question = f"{question}\n\n{more}"
    if "output" not in row:
        problems.say("missing", "the field output is missing")
        return []
    answer = _text(row["output"], "output", problems)
    return [*messages, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _prompt_completion(row: Mapping[str, object], problems: _Problems, ignored: set[str]) -> list[Row]:
    messages: list[Row] = []
    for name, role in (("prompt", "user"), ("completion", "assistant")):
        value = row[name]
        if isinstance(value, list) and any(isinstance(item, dict) and "role" in item for item in value):
            messages += _messages(value, name, problems, ignored)
        else:
            messages.append({"role": role, "content": _text(value, name, problems)})
    return messages


def _openai(row: Mapping[str, object], problems: _Problems, ignored: set[str]) -> list[Row]:
    return _messages(row["messages"], "messages", problems, ignored)


def _sharegpt(row: Mapping[str, object], problems: _Problems, ignored: set[str]) -> list[Row]:
    messages = _messages(row["conversations"], "conversations", problems, ignored)
    system = _text(row.get("system"), "system", problems, may_be_empty=True)
    if system.strip() and not (messages and messages[0]["role"] == "system"):
        messages.insert(0, {"role": "system", "content": system})
    return messages


_READERS: dict[str, Callable[[Mapping[str, object], _Problems, set[str]], list[Row]]] = {
    "messages": _openai,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
}


def _messages(value: Any, field: str, problems: _Problems, ignored: set[str]) -> list[Row]:
    if not isinstance(value, list):
        problems.say("field", f"{field} must be a list, not {_kind(value)}")
        return []
    if not value:
        problems.say("empty", f"{field} is empty")
        return []
    return [_message(item, f"{field}[{index}]", problems, ignored) for index, item in enumerate(value)]


def _message(item: Any, where: str, problems: _Problems, ignored: set[str]) -> Row:
    blank: Row = {"role": "", "content": ""}
    if not isinstance(item, dict):
        problems.say("field", f"{where} must be an object, not {_kind(item)}")
        return blank
    role_key = "role" if "role" in item else "from"
    content_key = "content" if "content" in item or "value" not in item else "value"
    given = item.get(role_key)
    if given is None:
        problems.say("missing", f"{where} has no role")
        return blank
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        shown = json.dumps(given)[:40]
        problems.say("role", f"{where}: no role {shown}; known: system, user, assistant, tool")
        return blank
    ignored.update(key for key in _IGNORED_IN_MESSAGE if item.get(key) is not None)
    calls = item.get("tool_calls")
    content = item.get(content_key)
    if given == "function_call":
        calls, content = [content], ""
    elif item.get("function_call"):
        calls = [item["function_call"]]
    out: Row = {"role": role}
    lenient = role in ("system", "tool") or (role == "assistant" and bool(calls))
    out["content"] = _text(content, f"{where}: the {role}'s content", problems, may_be_empty=lenient)
    if calls and role != "assistant":
        problems.say("role", f"{where}: tool_calls belong to the assistant, not to the {role}")
    elif calls:
        out["tool_calls"] = _tool_calls(calls, where, problems)
    for key in ("tool_call_id", "name"):
        if isinstance(item.get(key), str):
            out[key] = item[key]
    return out


def _check_turns(messages: Sequence[Row], problems: _Problems) -> None:
    if not any(message["role"] == "assistant" for message in messages):
        problems.say("no_assistant", "has no assistant turn, so there is nothing to learn")


def _tool_calls(calls: Any, where: str, problems: _Problems) -> list[Row]:
    if not isinstance(calls, list):
        problems.say("tools", f"{where}: tool_calls must be a list, not {_kind(calls)}")
        return []
    out = []
    for index, call in enumerate(calls):
        name = f"{where}: tool_calls[{index}]"
        if isinstance(call, str):  # sharegpt's function_call turns hold the call as JSON text
            call = _parsed(call, name, problems)
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            problems.say("tools", f"{name} has no function name")
            continue
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            arguments = _parsed(arguments, f"{name}: arguments", problems)
        if not isinstance(arguments, dict):
            problems.say("tools", f"{name}: arguments must be an object, or one as JSON text")
            continue
        entry: Row = {"type": "function", "function": {"name": function["name"], "arguments": "{}"}}
        if _shallow(arguments, f"{name}: arguments", problems):
            entry["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        if isinstance(call.get("id"), str):
            entry["id"] = call["id"]
        out.append(entry)
    return out


def _tools(value: Any, problems: _Problems) -> list[Row]:
    """Tool definitions: a list of objects, or one as JSON text."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = _parsed(value, "tools", problems)
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        problems.say("tools", "tools must be a list of objects, or one as JSON text")
        return []
    return [_tool(tool, problems) for tool in value] if _shallow(value, "tools", problems) else []


def _tool(tool: Row, problems: _Problems) -> Row:
    """One definition, with parameters that are given as JSON text parsed, as the trainers would."""
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("parameters"), str):
        return tool
    parameters = _parsed(function["parameters"], "tools: parameters", problems)
    _shallow(parameters, "tools: parameters", problems)
    return {**tool, "function": {**function, "parameters": parameters}}


def _parsed(text: str, name: str, problems: _Problems) -> Any:
    try:
        return strict_json(text)
    except RepeatedKey as error:
        problems.say("tools", f"{name}: {error}")
        return {}
    except ValueError as error:
        problems.say("tools", f"{name}: not JSON text: {error}")
        return {}


def _shallow(value: Any, name: str, problems: _Problems) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return True
    problems.say("tools", f"{name}: nested deeper than {MAX_DEPTH} levels")
    return False
