"""The text of a field or of a turn: a string, or a list of parts as the field writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from launcher.data.told import Told, holds, kind_of

MEDIA_KEYS = frozenset(
    f"{name}{end}"
    for name in ("image", "video", "audio", "picture", "pixel_value")
    for end in ("", "s", "_path", "_paths", "_url", "_urls", "_file", "_bytes")
)
_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHT_PARTS = ("thinking", "reasoning", "thought")
_MEDIA_PARTS = (
    "image", "image_url", "input_image", "image_file", "video", "video_url", "input_video", "audio", "audio_url",
    "input_audio", "file", "input_file", "document",
)  # fmt: skip


_INLINE = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)


def without_thought(text: str) -> str:
    """An answer without the thought that stands before it in <think> … </think>; as it is where that is all of it."""
    answer = _INLINE.sub("", text)
    return answer if answer.strip() else text


def after_thought(text: str) -> str:
    """What a model answers once it has thought: the text behind ``</think>``, whether or not its beginning is there."""
    return text.partition("</think>")[2] if "</think>" in text else text


def inline_thought(text: str) -> str:
    """The thought that stands before an answer in <think> … </think>; empty where there is none."""
    found = _INLINE.match(text)
    return found[1].strip() if found else ""


def thought_of(turn: Mapping[str, Any]) -> str:
    """The thought of a normalised turn: of its own, or before its answer; empty where there is none."""
    return str(turn.get("reasoning_content", "")).strip() or inline_thought(turn["content"])


def text_of(value: Any, name: str, told: Told, *, may_be_empty: bool = False) -> str:
    """A text field. What is wrong with it is told under ``name``."""
    text, thought = parts_of(value, name, told, may_be_empty=may_be_empty)
    if thought.strip():
        told.unread.add("thinking, a part of a field of text,")
    return text


def parts_of(value: Any, name: str, told: Told, *, may_be_empty: bool = False) -> tuple[str, str]:
    """The text of a field, and the thought that stands among its parts."""
    thought = ""
    if isinstance(value, list) and all(_is_part(part) for part in value):
        value, thought, media = _joined(value, told)
        if media and not value.strip():
            told.say("media", f"{name} holds nothing but {', '.join(sorted(media))}, which a text model cannot take")
            return "", thought
    if value is None:
        value = ""
    if not isinstance(value, str):
        told.say("field", f"{name} must be text, not {_shown(value)}")
        return "", thought
    if not may_be_empty and not value.strip() and not thought:
        told.say("empty", f"{name} is empty")
    return value, thought


def _shown(value: Any) -> str:
    """What stands where a text should, and how it is made one."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return "a list: join its texts into one"
    if isinstance(value, list):
        others = sorted(
            {str(part.get("type", "no type")) for part in value if isinstance(part, dict)} - set(_TEXT_PARTS)
        )
        return "a list with parts other than text" + (f" ({', '.join(others)[:60]})" if others else "")
    if isinstance(value, bool | int | float):
        return f'{kind_of(value)}: write it in quotes, "{json.dumps(value)[:20]}"'
    return kind_of(value) + (": write it as JSON text" if isinstance(value, dict) else "")


def _is_part(part: Any) -> bool:
    known = (*_TEXT_PARTS, *_THOUGHT_PARTS, *_MEDIA_PARTS)
    return isinstance(part, dict) and (
        part.get("type") in known or ("type" not in part and isinstance(part.get("text"), str))
    )


def _joined(parts: list[dict[str, Any]], told: Told) -> tuple[str, str, set[str]]:
    texts: list[str] = []
    thoughts: list[str] = []
    media: set[str] = set()
    for part in parts:
        kind = part.get("type", "text")
        if kind in _MEDIA_PARTS:
            media.add(f"{kind} parts")
            continue
        kept = thoughts if kind in _THOUGHT_PARTS else texts
        said = next((part[key] for key in ("text", kind, "content") if isinstance(part.get(key), str)), "")
        kept.append(said)
        read = {"type", "text", kind, "content", "cache_control", "annotations"}
        told.unread.update(f"{key} of a part of content" for key in part if key not in read and holds(part[key]))
    told.media |= media
    return "".join(texts), "\n".join(thoughts), media
