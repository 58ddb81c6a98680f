"""The turns of a conversation as every chat template reads them: role, content, calls, thought, and whether trained."""

from __future__ import annotations

import json
from typing import Any

from launcher.data.content import MEDIA_KEYS, inline_thought, parts_of, text_of, without_thought
from launcher.data.json_text import PYTHON, is_python, strict_json
from launcher.data.told import Row, Told, holds, kind_of
from launcher.data.tools import parsed, tool_calls

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")
_MASK_KEYS = ("weight", "train", "training", "loss")  # false or 0: the turn is not trained
_READ = frozenset(
    {"role", "from", "content", "value", "text", "tool_calls", "function_call", "tool_call_id", "name"}
) | {*THOUGHT_KEYS, *_MASK_KEYS}

_PLAIN = frozenset({"role", "content"})


def turns_of(value: Any, field: str, told: Told) -> list[Row]:
    """A list of turns, or one as JSON text. Calls that follow each other in turns of their own become one turn."""
    if isinstance(value, str):
        value = _from_text(value, field, told)
        if value is None:
            return []
    if not isinstance(value, list):
        told.say("field", f"{field} must be a list, not {kind_of(value)}")
        return []
    if not value:
        told.say("empty", f"{field} is empty")
        return []
    turns: list[Row] = []
    calling = False  # the turn before holds nothing but calls
    for index, item in enumerate(value):
        turn = _turn(item, f"{field}[{index}]", told)
        calls = isinstance(item, dict) and item.get("role", item.get("from")) == "function_call"
        if calls and calling and turn.get("training") == turns[-1].get("training"):
            turns[-1]["tool_calls"] = [*turns[-1].get("tool_calls", []), *turn.get("tool_calls", [])]
        else:
            turns.append(turn)
        calling = calls
    return turns


def turns_in_text(value: Any) -> Any:
    """The turns that a text field holds as JSON text, as tables have them; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith("[{") and value.rstrip().endswith("}]"):
        try:
            found = strict_json(value)
        except ValueError:
            return value
        if all(isinstance(item, dict) and {"role", "from"} & item.keys() for item in found):
            return found
    return value


def _from_text(text: str, field: str, told: Told) -> Any:
    """A list of turns that stands in the row as JSON text, as tables and some exports have it."""
    try:
        value = strict_json(text)
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    if is_python(text):
        told.say("python", f"{field} is {PYTHON}")
    elif not text.strip():
        told.say("empty", f"{field} is empty")
    else:
        hint = '[{"role": "user", "content": …}, …]; of a question and an answer alone: prompt and completion'
        told.say("field", f"{field} must be a list, not text: {hint}")
    return None


def _turn(item: Any, where: str, told: Told) -> Row:
    blank: Row = {"role": "", "content": ""}
    if not isinstance(item, dict):
        told.say("field", f"{where} must be an object, not {kind_of(item)}")
        return blank
    given = item.get("role" if "role" in item else "from")
    if given is None:
        told.say("missing", f"{where} has no role")
        return blank
    role = _ROLES.get(given.strip().casefold()) if isinstance(given, str) else None
    if role is None:
        shown = json.dumps(given, default=str)[:40]
        told.say("role", f"{where}: no role {shown}; known: system, user, assistant, tool")
        return blank
    content = next((item[key] for key in ("content", "value", "text") if key in item), None)
    calls = item.get("tool_calls")
    if str(given).strip().casefold() == "function_call":
        calls, content = _call_turn(content, item), ""
    elif item.get("function_call"):
        calls = [*(calls if isinstance(calls, list) else []), item["function_call"]]
    out: Row = {"role": role}
    thought = _thought(item, where, told) if role == "assistant" else ""
    lenient = role in ("system", "tool") or (role == "assistant" and bool(calls or thought))
    out["content"], beside = parts_of(content, f"{where}: the {role}'s content", told, may_be_empty=lenient)
    if beside.strip() and role != "assistant":
        told.unread.add("thinking of a turn that is not the assistant's")
    thought = "\n".join(part for part in (thought, beside if role == "assistant" else "") if part)
    if calls and role != "assistant":
        told.say("role", f"{where}: tool_calls belong to the assistant, not to the {role}")
    elif calls:
        out["tool_calls"] = tool_calls(calls, where, told)
    for key in ("tool_call_id", "name"):
        value = item.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            out[key] = str(value)
        elif holds(value):
            told.unread.add(f"{key} of a turn")
    if thought.strip():
        out["reasoning_content"] = thought
        told.thoughts += 1
        if inline := inline_thought(out["content"]):
            out["content"] = without_thought(out["content"])
            if inline != thought.strip():
                told.doubts.append(("thoughts", f"{where} has two thoughts, and the one in its content is not trained"))
    if not item.keys() <= _PLAIN:
        _mask(item, out, told)
        _tell_unread(item, role, told)
    return out


def _call_turn(content: Any, item: Row) -> Any:
    """What a turn of sharegpt calls: one call, or a list of them, as objects or as JSON text."""
    if content is None and holds(item.get("tool_calls")):
        return item["tool_calls"]
    return content if isinstance(content, list) else [content]


def _thought(item: Row, where: str, told: Told) -> str:
    key = next((key for key in THOUGHT_KEYS if holds(item.get(key))), None)
    if key is None:
        return ""
    return "\n".join(part for part in parts_of(item[key], f"{where}: {key}", told, may_be_empty=True) if part)


def is_off(value: Any) -> bool:
    """Whether a value says no, in one of the ways that files have it: false, 0, or either as text."""
    return value.strip().lower() in ("false", "0") if isinstance(value, str) else value in (False, 0)


def is_on(value: Any) -> bool:
    """Whether a value says yes, as `is_off` says no."""
    return value.strip().lower() in ("true", "1") if isinstance(value, str) else value in (True, 1)


def _mask(item: Row, out: Row, told: Told) -> None:
    """Set ``training`` to false where the turn says not to train it, and tell what cannot be done as it says."""
    for key in _MASK_KEYS:
        value = item.get(key)
        if value is None:
            continue
        off, on = is_off(value), is_on(value)
        if not off and not on:
            told.unread.add(f"{key} of a turn, where it is neither 0 nor 1,")
        elif out["role"] != "assistant":
            if on and key != "weight":
                told.unread.add(f"{key} of a turn that is not the assistant's")
        elif off and "training" not in out:
            out["training"] = False
            told.masked += 1


def _tell_unread(item: Row, role: str, told: Told) -> None:
    for key, value in item.items():
        if not holds(value):
            continue
        if key in MEDIA_KEYS:
            told.media.add(f"{key} of a turn")
        elif key not in _READ or (role != "assistant" and key in THOUGHT_KEYS):
            told.unread.add(f"{key} of a turn" + (" that is not the assistant's" if key in _READ else ""))
            doubt_unread(key, value, told)
    contents = [key for key in ("content", "value", "text") if holds(item.get(key))]
    told.unread.update(f"{key} of a turn" for key in contents[1:])
    thoughts = [key for key in THOUGHT_KEYS if holds(item.get(key))] if role == "assistant" else []
    told.unread.update(f"{key} of a turn" for key in thoughts[1:] if item[key] != item[thoughts[0]])
    if "role" in item and holds(item.get("from")):
        told.unread.add("from of a turn")


# Names that are not read, and whose loss changes what is trained: said louder than other keys.
_LIKE_MASKS = frozenset({"mask", "masks", "loss_mask", "do_train", "trainable", "train_mask", "loss_weight"})
_LIKE_THOUGHTS = frozenset(
    {"thoughts", "think", "cot", "chain_of_thought", "rationale", "reasoning_details", "reasoning_text", "scratchpad"}
)


def doubt_unread(key: str, value: Any, told: Told) -> None:
    """Warn of a key that is not read, where it looks like a mask that is set, or like a thought."""
    name = key.casefold()
    if (name in _LIKE_MASKS and not is_on(value)) or (name in _MASK_KEYS and is_off(value)):
        right = "in a turn of the assistant, weight: 0 or train: false masks it"
        told.doubts.append(("mask", f"{key} looks like a mask and is not read, so what it masks is trained: {right}"))
    elif name in _LIKE_THOUGHTS:
        told.doubts.append(("thoughts", f"{key} looks like a thought and is not read: reasoning_content is"))


def history_of(value: Any, told: Told) -> list[Row]:
    """Turns before a row's question: pairs of question and answer, or turns. As JSON text too."""
    if isinstance(value, str):
        value = parsed(value, "history", told) if value.strip() else None
    if not holds(value):
        return []
    if not isinstance(value, list):
        told.say("field", f"history must be a list of pairs of question and answer, not {kind_of(value)}")
        return []
    if all(isinstance(item, dict) for item in value):
        return turns_of(value, "history", told)
    turns: list[Row] = []
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            told.say("field", f"history[{index}] must be a pair of question and answer")
            return []
        for role, text in zip(("user", "assistant"), pair, strict=True):
            turns.append({"role": role, "content": text_of(text, f"history[{index}]", told)})
    return turns
