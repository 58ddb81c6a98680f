"""Tool definitions and tool calls in every shape that people write, as the one shape that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from launcher.data.json_text import PYTHON, RepeatedKey, is_python, strict_json
from launcher.data.told import Row, Told, holds, kind_of

MAX_DEPTH = 64  # of tool definitions and arguments: deeper ones are an accident or an attack on a recursive reader
_CALL_KEYS = frozenset({"id", "type", "function", "name", "arguments", "parameters", "index"})


def tool_calls(calls: Any, where: str, told: Told) -> list[Row]:
    """The calls of a turn: a list, or one as JSON text; each OpenAI's, bare, or JSON text itself."""
    if isinstance(calls, str):
        calls = parsed(calls, f"{where}: tool_calls", told)
        if calls is None:
            return []
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        told.say("tools", f"{where}: tool_calls must be a list, not {kind_of(calls)}")
        return []
    out = []
    for index, call in enumerate(calls):
        name = f"{where}: tool_calls[{index}]"
        if isinstance(call, str):  # sharegpt's function_call turns hold the call as JSON text
            call = parsed(call, name, told)
            if call is None:
                continue
        for item in call if isinstance(call, list) else [call]:
            entry = _call(item, name, told)
            if entry is not None:
                out.append(entry)
    return out


def _call(call: Any, name: str, told: Told) -> Row | None:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        told.say("tools", f"{name} has no function name")
        return None
    both = call if function is call else {**call, **function}
    told.unread.update(f"{key} of a tool call" for key in both if key not in _CALL_KEYS and holds(both[key]))
    given = [key for key in ("arguments", "parameters") if key in function]
    if len(given) > 1 and holds(function["parameters"]) and function["parameters"] != function["arguments"]:
        told.unread.add("parameters of a tool call")
    arguments = function.get("arguments", function.get("parameters")) or {}
    if isinstance(arguments, str):
        arguments = parsed(arguments, f"{name}: arguments", told) if arguments.strip() else {}
        if arguments is None:
            return None
    if not isinstance(arguments, dict):
        told.say("tools", f"{name}: arguments must be an object, or one as JSON text")
        return None
    entry: Row = {"type": "function", "function": {"name": function["name"], "arguments": "{}"}}
    if _shallow(arguments, f"{name}: arguments", told):
        entry["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    name_of_call = call.get("id")
    if isinstance(name_of_call, str | int) and not isinstance(name_of_call, bool):
        entry["id"] = str(name_of_call)
    elif holds(name_of_call):
        told.unread.add("id of a tool call")
    return entry


def tell_unasked(messages: Sequence[Row], told: Told) -> None:
    """Results of tools that name a call which none of the turns before them makes."""
    made: set[str] = set()
    for index, message in enumerate(messages):
        made.update(call["id"] for call in message.get("tool_calls", ()) if "id" in call)
        asked = message.get("tool_call_id")
        if asked is not None and made and asked not in made:
            known = ", ".join(sorted(made)[:3])
            told.doubts.append(("tools", f"turn {index + 1}: tool_call_id {asked!r} fits no call before it ({known})"))
        elif asked is not None and not made:
            told.doubts.append(
                ("tools", f"turn {index + 1}: tool_call_id {asked!r} fits no call: none before it has an id")
            )


def tools_of(value: Any, told: Told, name: str = "tools") -> list[Row]:
    """Tool definitions: a list of OpenAI's or of bare functions, one alone, or any of these as JSON text."""
    if isinstance(value, str):
        value = parsed(value, name, told) if value.strip() else []
    if not holds(value):
        return []
    if isinstance(value, dict) and ("name" in value or "function" in value):
        value = [value]
    if isinstance(value, list):
        value = [
            parsed(tool, f"{name}[{index}]", told) if isinstance(tool, str) else tool
            for index, tool in enumerate(value)
        ]
        if any(tool is None for tool in value):
            return []
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        told.say("tools", f"{name} must be a list of objects, or one as JSON text")
        return []
    if not _shallow(value, name, told):
        return []
    return [_tool(tool, f"{name}[{index}]" if len(value) > 1 else name, told) for index, tool in enumerate(value)]


def _tool(tool: Row, where: str, told: Told) -> Row:
    """One definition in OpenAI's shape, with parameters that are given as JSON text parsed, as the trainers would."""
    if "function" not in tool and isinstance(tool.get("name"), str):
        bare = {key: item for key, item in tool.items() if key != "type"}
        if "parameters" not in bare and "input_schema" in bare:
            bare["parameters"] = bare.pop("input_schema")
        tool = {"type": "function", "function": bare}
    function = tool.get("function")
    if isinstance(function, str):
        function = parsed(function, f"{where}: function", told)
        if function is None:
            return tool
        tool = {**tool, "function": function}
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        told.say("tools", f'{where} has no function with a name: {{"type": "function", "function": {{"name": …}}}}')
        return tool
    if not isinstance(function.get("parameters"), str):
        return tool
    parameters = parsed(function["parameters"], "tools: parameters", told)
    _shallow(parameters, "tools: parameters", told)
    return {**tool, "function": {**function, "parameters": parameters}}


def parsed(text: str, name: str, told: Told) -> Any:
    """JSON text inside a field; None, and told, where it is none."""
    try:
        return strict_json(text)
    except RepeatedKey as error:
        told.say("tools", f"{name}: {error}")
    except ValueError as error:
        if is_python(text):
            told.say("python", f"{name}: {PYTHON}")
        else:
            told.say("tools", f"{name}: not JSON text: {error}")
    return None


def _shallow(value: Any, name: str, told: Told) -> bool:
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
    told.say("tools", f"{name}: nested deeper than {MAX_DEPTH} levels")
    return False
