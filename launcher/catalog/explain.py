"""What a schema's mismatch is in words: for a catalogue file, a setting, a job, and for a finding of the validator."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import SAME_SETTING, known_elsewhere, nearest
from launcher.json_schema import Mismatch, type_name

FEW = 20  # so many known keys are all named
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_COUNTS = {
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minProperties": "at least {} keys",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}


@dataclass(frozen=True)
class Explanation:
    """What is wrong, and what would be right. ``of_key``: the key is to blame, and not its value."""

    message: str
    hint: str = ""
    of_key: bool = False


def explain(m: Mismatch, name: str, words: Mapping[str, str] = SAME_SETTING) -> Explanation:
    """``name`` is what the place is called; ``words`` are what other tools call the keys that are known there."""
    match m.keyword:
        case "additionalProperties" | "false":
            return Explanation(f"unknown key {name!r}", _meant(str(m.path[-1]), m.known, words), of_key=True)
        case "required":
            return Explanation(f"the key {name} is missing", f"add {m.path[-1]}: …", of_key=True)
        case "type":
            return Explanation(f"{name} is {_typed(m.value)}", _right_type(m))
        case "minItems" | "minLength" | "minProperties" if m.expected == 1:
            return Explanation(f"{name} must not be empty")
        case "uniqueItems":
            return Explanation(f"{name} names something twice: {', '.join(map(str, m.value))}")
        case keyword if keyword in _BOUNDS:
            lost = isinstance(m.value, float) and not math.isfinite(m.value)
            right = "a finite number" if lost else f"{_BOUNDS[keyword]} {_number(m.expected)}"
            return Explanation(f"{name} must be {right}, not {_number(m.value)}")
        case keyword if keyword in _COUNTS:
            return Explanation(f"{name} must have {_COUNTS[keyword].format(m.expected)}, not {len(m.value)}")
        case "pattern" | "oneOf" if isinstance(m.value, dict):
            return Explanation(f"{name} has not the form it must have", f"expected {_expected(m)}")
        case "anyOf" if not is_choice(m):
            return Explanation(f"{name} is {_typed(m.value)}", _right_type(m))
    texts = [value for value in _allowed(m) if isinstance(value, str)] if is_choice(m) else []
    guess = nearest(str(m.value), texts) if texts else None
    return Explanation(
        f"{name} cannot be {_shown(m.value)}", f"did you mean {guess}?" if guess else f"expected {_expected(m)}"
    )


def is_choice(m: Mismatch) -> bool:
    """Whether the value is to be one of a list."""
    listed = m.keyword == "anyOf" and any("enum" in branch or "const" in branch for branch in m.expected)
    scalar = isinstance(m.value, str | int | float) and not isinstance(m.value, bool)
    return m.keyword == "enum" or (listed and scalar)


def _meant(word: str, known: tuple[str, ...], words: Mapping[str, str]) -> str:
    """What to do about an unknown key."""
    if (here := words.get(word)) in known:
        return f"it is called {here} here"
    if guess := known_elsewhere(word, known) or nearest(word, known):
        return f"did you mean {guess}?"
    return f"known: {', '.join(sorted(known))}" if 0 < len(known) <= FEW else "remove it"


def _right_type(m: Mismatch) -> str:
    hint = f"expected {_expected(m)}"
    if not isinstance(m.value, str):
        return hint
    if re.fullmatch(r"[-+]?\d+e[-+]?\d+", m.value, re.IGNORECASE):
        return f"{hint}; YAML 1.1 takes {m.value} for text: write {float(m.value)!r} or {m.value.replace('e', '.0e')}"
    return f"{hint}, in brackets: [{m.value}]" if m.of_texts else hint


def _number(value: float) -> str:
    """A whole number in full: its last digits count where it is a bound."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _typed(value: Any) -> str:
    if value is None or isinstance(value, bool):  # "true, true or false" says nothing
        return _shown(value)
    return f"{_shown(value)}, {type_name(value)}"


def _shown(value: Any) -> str:
    """A value as a message has it."""
    text = {True: "true", False: "false", None: "empty"}.get(value) if not isinstance(value, dict | list) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = text or (repr(value) if isinstance(value, str) else f"{type_name(value)}")
    return text if len(text) <= 60 else text[:57] + "…"


def _allowed(m: Mismatch) -> list[Any]:
    """The single values that would be right."""
    if m.keyword == "enum":
        return list(m.expected)
    branches = m.expected if m.keyword in ("anyOf", "oneOf") else []
    return [value for b in branches for value in (*b.get("enum", ()), *([b["const"]] if "const" in b else ()))]


def _expected(m: Mismatch) -> str:
    """What would be right, in words."""
    if m.keyword in ("anyOf", "oneOf") and all(set(branch) == {"required"} for branch in m.expected):
        return "one of " + ", ".join(name for branch in m.expected for name in branch["required"])
    if m.keyword == "pattern":
        return "text with a /" if m.expected == "/" else f"the form {m.expected}"
    if m.keyword == "type":
        return " or ".join(_TYPES[name] for name in m.expected if name != "null") or "nothing"
    words = [str(value) for value in _allowed(m)]
    for branch in m.expected if m.keyword in ("anyOf", "oneOf") else ():
        types = branch.get("type", [])
        names = [] if "const" in branch else [types] if isinstance(types, str) else types
        words += [_TYPES[name] for name in names if name != "null"]
    unique = list(dict.fromkeys(words))
    return ", ".join(unique[:-1]) + " or " + unique[-1] if len(unique) > 1 else "".join(unique) or "another form"
