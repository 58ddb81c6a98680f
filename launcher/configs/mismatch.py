"""Findings of the schema: unknown keys, wrong types, values outside of their range. QL101 to QL106.

The functions are documentation as well: their docstrings are the pages of their codes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from launcher.catalog.explain import explain, is_choice
from launcher.errors import SAME_SETTING
from launcher.json_schema import Json, Mismatch, check
from launcher.rules.base import Hit, Kind
from launcher.trainers import get_trainer, trainer_names

SHORT_ATTENTION = {"flash": "flash_attention_2", "flex": "flex_attention", "sdp": "sdpa"}


def unknown_key(m: Mismatch, kind: Kind, properties: Json, siblings: Collection[Any] = ()) -> Hit:
    """A key that its reader does not know.

    A trainer may drop unknown keys in silence, at every depth: a misspelled key is a setting that is not there. Where a
    plugin from elsewhere is listed the key may be the plugin's, and the finding is a warning; so it is for a key
    without a value.
    """
    words = words_of(kind)
    same = words.get(str(m.path[-1]))
    fits = same in m.known and same in properties and not check(m.value, properties[same], mode="lax").errors
    repair: tuple[Literal["key"], str] | None = ("key", same) if same and fits and same not in siblings else None
    return replace(_hit(m, words), repair=repair)


def wrong_type(m: Mismatch) -> Hit:
    """A value of the wrong type.

    Its reader refuses it, unless it can be converted: "16" is a number to it, 16 is no text.
    """
    return _hit(m)


def not_allowed(m: Mismatch) -> Hit:
    """A value outside of the key's list.

    The trainer refuses most of them; a wrong `optimizer` or `lr_scheduler` it may take, and stop when training starts.
    """
    if m.path[-1:] == ("attn_implementation",) and isinstance(m.value, str) and m.value in SHORT_ATTENTION:
        full = SHORT_ATTENTION[m.value]
        return Hit(m.path, f"{_name(m)}: {m.value} is the short form", full, repair=("value", full))
    return _hit(m)


def out_of_range(m: Mismatch) -> Hit:
    """A number, a length or a count outside of its range.

    The reader refuses it, or fails later.
    """
    return _hit(m)


def missing_key(m: Mismatch) -> Hit:
    """A key that must be there.

    Its reader refuses the file without it.
    """
    return _hit(m)


def malformed(m: Mismatch) -> Hit:
    """A value that does not have the form it must have.

    Its reader refuses it.
    """
    return _hit(m)


def _hit(m: Mismatch, words: Mapping[str, str] = SAME_SETTING) -> Hit:
    said = explain(m, _name(m), words)
    path = m.path[:-1] if m.keyword == "required" else m.path
    return Hit(path, said.message, said.hint, "key" if said.of_key else "value")


def _name(m: Mismatch) -> str:
    """The key alone: a finding has the whole path, and the line."""
    if m.keyword in ("additionalProperties", "false", "required"):
        return str(m.path[-1])
    names = [part for part in m.path if isinstance(part, str)]
    return names[-1] if names else "the row or file"


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
    return {**known, "model_name_or_path": "base_model", "model_name": "base_model", **trainer.config_file.words}


def to_hit(m: Mismatch, kind: Kind, properties: Json, siblings: Collection[Any] = ()) -> tuple[str, Hit]:
    """The code and the hit of one mismatch in a file of ``kind``. ``properties`` are the schema's of the level it
    stands on, ``siblings`` the keys that are there: no key is renamed to one of them.
    """
    code = CODES.get(m.keyword, "")
    if m.keyword == "anyOf":
        code = "QL103" if is_choice(m) else "QL102"
    if code == "QL101":
        return code, unknown_key(m, kind, properties, siblings)
    return code, DOCUMENTED[code](m)
