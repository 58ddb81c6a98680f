"""JSON as a data file has it: read strictly, and named as what it is where it is none."""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn


class RepeatedKey(ValueError):
    """A key that stands twice in one object. Readers of JSON keep the last value, and the person may mean the other."""


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


def without_line(error: ValueError) -> str:
    """A decoder's message without its own line number, which counts within the row."""
    message, position = getattr(error, "msg", None), getattr(error, "pos", None)
    return f"{message} at column {position + 1}" if message and position is not None else str(error)


@dataclass(frozen=True)
class Fault:
    """What a text is that is no JSON: a kind, one for all texts with the same fault, and words with the way out."""

    kind: str
    message: str


PYTHON = "a Python literal, not JSON (single quotes, None, True): write it with json.dumps, not with str or print"
_LONGEST = 1_000_000  # characters in which a fault is looked for
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_INNER_COMMA = re.compile(r",(?=\s*[}\]])")


def fault_of(text: str) -> Fault | None:
    """The known fault of a text that `strict_json` refused, or None."""
    text = text.strip()[:_LONGEST]
    if text.endswith(",") and _reads(text[:-1]):
        return Fault("comma", "a comma stands behind the row: one object a line, without commas between them")
    if "," in text and _reads(_without_inner_commas(text)):
        return Fault("comma", "a comma stands before a closing bracket (a trailing comma), which JSON does not have")
    if is_python(text):
        return Fault("python", PYTHON)
    return _two_objects(text)


def is_python(text: str) -> bool:
    """Whether a text is an object or a list as Python prints it."""
    if not text.lstrip().startswith(("{", "[")) or not (
        "'" in text or "None" in text or "True" in text or "False" in text
    ):
        return False
    try:
        return isinstance(ast.literal_eval(text.strip()), dict | list)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def _reads(text: str) -> bool:
    try:
        strict_json(text)
    except ValueError:
        return False
    return True


def _without_inner_commas(text: str) -> str:
    """The text without commas before a closing bracket; what stands in strings is left alone."""
    out, position = [], 0
    for match in _STRING.finditer(text):
        out += [_INNER_COMMA.sub("", text[position : match.start()]), match.group()]
        position = match.end()
    out.append(_INNER_COMMA.sub("", text[position:]))
    return "".join(out)


def _two_objects(text: str) -> Fault | None:
    if not text.startswith("{"):
        return None
    try:
        _, end = scan_json(text, 0)
    except ValueError:
        return None
    if text[end:].lstrip(" ,").startswith("{"):
        return Fault("together", "several objects stand on this line: one object a line")
    return None
