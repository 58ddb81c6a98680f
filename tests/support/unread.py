"""A row of each format, and the same row with a key in each place that the format has."""

from __future__ import annotations

from typing import Any

from launcher.data.formats import Format

USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}
ROWS: dict[Format, dict[str, Any]] = {
    "messages": {"messages": [USER, ANSWER]},
    "sharegpt": {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]},
    "alpaca": {"instruction": "hi", "output": "ho"},
    "prompt_completion": {"prompt": "hi", "completion": "ho"},
    "text": {"text": "hi ho"},
}
TURNS = {"messages": "messages", "sharegpt": "conversations"}


def places(form: Format, key: str, value: Any) -> dict[str, dict[str, Any]]:
    """A row of the format with the key in each place that the format has, by the name it is to be told under."""
    row = ROWS[form]
    found = {key: {**row, key: value}}
    if form != "text":
        found[f"chat_template_kwargs.{key}"] = {**row, "chat_template_kwargs": {key: value}}
    if form in TURNS:
        name = TURNS[form]
        user, answer = row[name]
        parts = [{"type": "text", "text": "hi", key: value}]
        content = "content" if form == "messages" else "value"
        call = {"name": "f", "arguments": {}}
        found |= {
            f"{key} of a turn": {name: [{**user, key: value}, {**answer, key: value}]},
            f"{key} of a part of content": {name: [{**user, content: parts}, answer]},
            f"{key} of a tool call": {name: [user, {**answer, "tool_calls": [{"function": {**call, key: value}}]}]},
        }
    return found
