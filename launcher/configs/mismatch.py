"""Findings of the schema: unknown keys, wrong types, values outside of their range. QL101 to QL106.

The functions are documentation as well: their docstrings are the pages of their codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal

from launcher.errors import SAME_SETTING, nearest
from launcher.json_schema import Json, Mismatch, check, type_name
from launcher.rules.base import Hit, Kind
from launcher.trainers import get_trainer, trainer_names

SHORT_ATTENTION = {"flash": "flash_attention_2", "flex": "flex_attention", "sdp": "sdpa"}


def unknown_key(m: Mismatch, kind: Kind, properties: Json, siblings: Collection[Any] = ()) -> Hit:
    """A key that its reader does not know.

    A trainer may drop unknown keys in silence, at every depth: a misspelled key is a setting that is not there. Where a
    plugin from elsewhere is listed the key may be the plugin's, and the finding is a warning; so it is for a key
    without a value.
    """
    name = str(m.path[-1])
    same = words_of(kind).get(name)
    fits = same in m.known and same in properties and not check(m.value, properties[same], mode="lax").errors
    if same in m.known:
        repair: tuple[Literal["key"], str] | None = ("key", same) if same and fits and same not in siblings else None
        return Hit(m.path, f"unknown key {name!r}", f"it is called {same} here", "key", repair)
    guess = nearest(name, m.known)
    return Hit(m.path, f"unknown key {name!r}", f"did you mean {guess}?" if guess else "remove it", "key")


def wrong_type(m: Mismatch) -> Hit:
    """A value of the wrong type.

    Its reader refuses it, unless it can be converted: "16" is a number to it, 16 is no text.
    """
    hint = f"expected {_expected(m)}"
    if isinstance(m.value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", m.value, re.IGNORECASE):
        hint += f"; YAML 1.1 takes {m.value} for text: write {float(m.value)!r} or {m.value.replace('e', '.0e')}"
    return Hit(m.path, f"{_name(m)} is {_shown(m.value)}, {type_name(m.value)}", hint)


def not_allowed(m: Mismatch) -> Hit:
    """A value outside of the key's list.

    The trainer refuses most of them; a wrong `optimizer` or `lr_scheduler` it may take, and stop when training starts.
    """
    values = [value for value in _values(m) if isinstance(value, str)]
    if m.path[-1:] == ("attn_implementation",) and isinstance(m.value, str) and m.value in SHORT_ATTENTION:
        full = SHORT_ATTENTION[m.value]
        return Hit(m.path, f"{_name(m)}: {m.value} is the short form", full, repair=("value", full))
    guess = nearest(str(m.value), values) if values else None
    hint = f"did you mean {guess}?" if guess else f"expected {_expected(m)}"
    return Hit(m.path, f"{_name(m)} cannot be {_shown(m.value)}", hint)


def out_of_range(m: Mismatch) -> Hit:
    """A number, a length or a count outside of its range.

    The reader refuses it, or fails later.
    """
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "above {}",
        "exclusiveMaximum": "below {}",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minProperties": "at least {} keys",
        "uniqueItems": "no item twice",
    }
    return Hit(m.path, f"{_name(m)} cannot be {_shown(m.value)}", words[m.keyword].format(m.expected))


def missing_key(m: Mismatch) -> Hit:
    """A key that must be there.

    Its reader refuses the file without it.
    """
    return Hit(m.path[:-1], f"the key {m.path[-1]} is missing", f"add {m.path[-1]}: …", "key")


def malformed(m: Mismatch) -> Hit:
    """A value that does not have the form it must have.

    Its reader refuses it.
    """
    if isinstance(m.value, dict):
        return Hit(m.path, f"{_name(m)} has not the form it must have", f"expected {_expected(m)}")
    return Hit(m.path, f"{_name(m)} cannot be {_shown(m.value)}", f"expected {_expected(m)}")


CODES: dict[str, str] = {
    "additionalProperties": "QL101",
    "false": "QL101",
    "type": "QL102",
    "enum": "QL103",
    "minimum": "QL104",
    "maximum": "QL104",
    "exclusiveMinimum": "QL104",
    "exclusiveMaximum": "QL104",
    "minItems": "QL104",
    "maxItems": "QL104",
    "minLength": "QL104",
    "maxLength": "QL104",
    "minProperties": "QL104",
    "uniqueItems": "QL104",
    "required": "QL105",
    "pattern": "QL106",
    "oneOf": "QL106",
}
DOCUMENTED: dict[str, Callable[..., Hit]] = {
    "QL101": unknown_key,
    "QL102": wrong_type,
    "QL103": not_allowed,
    "QL104": out_of_range,
    "QL105": missing_key,
    "QL106": malformed,
}


def explained_elsewhere(m: Mismatch, explains: Callable[[str], bool]) -> bool:
    """Whether a rule of the trainer's own speaks of this unknown key of the top level."""
    name = m.path[-1] if m.path else None
    top = m.keyword == "additionalProperties" and len(m.path) == 1 and isinstance(name, str)
    return top and explains(str(name))


@cache
def words_of(kind: Kind) -> Mapping[str, str]:
    """What words of other tools are called in such a file: a setting, or the key that the trainer has for it.

    The value keeps its meaning, so renaming is safe.
    """
    if kind not in trainer_names():
        return SAME_SETTING
    trainer = get_trainer(kind)
    plain = {entry.setting: entry.key for entry in trainer.codec.entries if entry.key and entry.is_plain}
    known = {word: plain[setting] for word, setting in SAME_SETTING.items() if setting in plain}
    return {**known, "model_name_or_path": "base_model", **trainer.config_file.words}


def to_hit(m: Mismatch, kind: Kind, properties: Json, siblings: Collection[Any] = ()) -> tuple[str, Hit]:
    """The code and the hit of one mismatch in a file of ``kind``. ``properties`` are the schema's of the level it
    stands on, ``siblings`` the keys that are there: no key is renamed to one of them.
    """
    code = CODES.get(m.keyword, "")
    if m.keyword == "anyOf":
        code = "QL103" if any("enum" in b or "const" in b for b in m.expected) and _is_scalar(m.value) else "QL102"
    if code == "QL101":
        return code, unknown_key(m, kind, properties, siblings)
    return code, DOCUMENTED[code](m)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _name(m: Mismatch) -> str:
    names = [part for part in m.path if isinstance(part, str)]
    return str(names[-1]) if names else "the row or file"


def _shown(value: Any) -> str:
    text = {True: "true", False: "false", None: "empty"}.get(value) if not isinstance(value, dict | list) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = text or (repr(value) if isinstance(value, str) else f"{type_name(value)}")
    return text if len(text) <= 60 else text[:57] + "…"


def _values(m: Mismatch) -> list[Any]:
    if m.keyword == "enum":
        return list(m.expected)
    branches = m.expected if m.keyword in ("anyOf", "oneOf") else []
    return [value for b in branches for value in (*b.get("enum", ()), *([b["const"]] if "const" in b else ()))]


_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}


def _expected(m: Mismatch) -> str:
    """What would be right, in words."""
    if m.keyword in ("anyOf", "oneOf") and all(set(branch) == {"required"} for branch in m.expected):
        return "one of " + ", ".join(name for branch in m.expected for name in branch["required"])
    if m.keyword == "pattern":
        return "text with a /" if m.expected == "/" else f"the form {m.expected}"
    if m.keyword == "type":
        return " or ".join(_TYPES[name] for name in m.expected if name != "null") or "nothing"
    words = [str(value) for value in _values(m)]
    for branch in m.expected if m.keyword in ("anyOf", "oneOf") else ():
        types = branch.get("type", [])
        names = [] if "const" in branch else [types] if isinstance(types, str) else types
        words += [_TYPES[name] for name in names if name != "null"]
    unique = list(dict.fromkeys(words))
    return ", ".join(unique[:-1]) + " or " + unique[-1] if len(unique) > 1 else "".join(unique) or "another form"
