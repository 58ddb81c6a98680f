"""The JSON Schema of a record, made from its dataclasses: what a person may hand-edit is held against it."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields
from typing import Any, Literal, Union, get_args, get_origin

from launcher.records.codec import Keywords, Record, hints_of, taken_apart

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def schema_of(kind: type[Record]) -> dict[str, Any]:
    """An object schema: other keys may stand anywhere."""
    given = {item.name: item for item in fields(kind)}
    found: dict[str, Any] = {"type": "object"}
    hints = hints_of(kind)
    needed = [n for n in hints if given[n].default is MISSING and given[n].default_factory is MISSING]
    if needed:
        found["required"] = needed
    if kind.OTHERS is not Any:
        found["additionalProperties"] = _schema(kind.OTHERS)
    found["properties"] = {name: _property(hint) for name, hint in hints.items()}
    return found


def _property(hint: Any) -> dict[str, Any]:
    """A field's schema, with what `Annotated` adds: words, a `Keywords`, a `Record` that describes a mapping."""
    inner, said = taken_apart(hint)
    found = _schema(inner)
    for one in said:
        if isinstance(one, Keywords):
            found |= one.keywords
        elif isinstance(one, type) and issubclass(one, Record):
            found |= schema_of(one)
        elif isinstance(one, str):
            found["description"] = one
    return found


def _schema(hint: Any) -> dict[str, Any]:
    hint, _ = taken_apart(hint)
    origin, inside = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return {}
    if origin in (Union, types.UnionType):
        return _union([_schema(option) for option in inside])
    if origin is Literal:
        return {"enum": list(inside)}
    if origin is dict:
        values = _schema(inside[1])
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    if origin is tuple and inside[-1] is not Ellipsis:
        count = {"minItems": len(inside), "maxItems": len(inside)}
        return {"type": "array", **count, "items": _schema(inside[0])}
    if origin in (list, tuple, frozenset):
        items = _schema(inside[0])
        return {"type": "array", **({"items": items} if items else {})}
    if isinstance(hint, type) and issubclass(hint, Record):
        return schema_of(hint)
    return {"type": _TYPES[hint]}


def _union(options: list[dict[str, Any]]) -> dict[str, Any]:
    """Several types as one list of them, with what is said of each: its keywords hold of no other."""
    names = [option["type"] for option in options]
    merged: dict[str, Any] = {}
    for option in options:
        merged |= option
    return {**merged, "type": names}
