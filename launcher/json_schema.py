"""Check data against one of the schemas that ql ships.

An own checker, for two reasons. ``jsonschema`` costs more time and memory to import than a whole ``ql validate``
may take. And a config is read by pydantic, which takes ``"16"`` for 16 and ``"2e-4"`` (a string in YAML 1.1) for a
number: in the mode ``lax`` such values pass and come back converted, as the trainer sees them. In the mode
``strict`` the verdict is jsonschema's (a property test compares the two).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Literal

from launcher.resources import resource, trainer_names

TRAINERS = "x-trainers"  # a keyword of ql's own, see `load_schema`
Path = tuple[Hashable, ...]
Json = dict[str, Any]
Mode = Literal["strict", "lax"]

# Keywords that this checker acts on, and those that it may pass over.
ASSERTIONS = frozenset(
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "if",
        "then",
        "else",
        "properties",
        "patternProperties",
        "additionalProperties",
        "required",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "propertyNames",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "pattern",
        "$ref",
    ]
)
ANNOTATIONS = frozenset(
    ["$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated", "x-plugin"]
)


@dataclass(frozen=True)
class Mismatch:
    """One place where data and schema differ. ``keyword`` is the one that failed, ``expected`` its value."""

    path: Path
    keyword: str
    expected: Any
    value: Any
    known: tuple[str, ...] = ()  # for an unknown key: the keys that are known there
    of_texts: bool = False  # for what is no list: whether it is to be one of texts


@dataclass
class Checked:
    """The data as the reader sees it, and what is wrong with it."""

    data: Any
    errors: list[Mismatch] = field(default_factory=list)


@cache
def load_schema(name: str) -> Json:
    """A shipped schema by its file's name without ``.json``."""
    text = resource("schemas", f"{name}.json").read_bytes()
    schema: Json = json.loads(text, object_hook=_with_trainers if TRAINERS.encode() in text else None)
    return schema


def _with_trainers(part: Json) -> Json:
    """``x-trainers`` stands for the list of the trainers, which no schema has, and further words."""
    if TRAINERS not in part:
        return part
    rest = {key: value for key, value in part.items() if key not in (TRAINERS, "type")}
    return {"enum": [*trainer_names(), *part[TRAINERS]], **rest}


def check(data: Any, schema: str | Json, *, mode: Mode = "strict") -> Checked:
    """Check ``data`` against a shipped schema (by name) or a given one. All errors, in the order of the schema."""
    root = load_schema(schema) if isinstance(schema, str) else schema
    checker = _Checker(root, mode)
    value = checker.visit(data, root, ())
    return Checked(value, checker.errors)


def referred(reference: str, root: Json) -> tuple[Json, Any]:
    """The schema that a ``$ref`` of ``root`` leads into, and what it points at there."""
    file, _, pointer = reference.partition("#")
    root = load_schema(file.removesuffix(".json")) if file else root
    node: Any = root
    for part in filter(None, pointer.split("/")):
        node = node[part]
    return root, node


class _Checker:
    """Goes down data and schema together: each method returns the value as the reader sees it, and keeps the errors."""

    def __init__(self, root: Json, mode: Mode) -> None:
        self.root = root
        self.lax = mode == "lax"
        self.errors: list[Mismatch] = []

    def fail(self, path: Path, keyword: str, expected: Any, value: Any, **more: Any) -> None:
        self.errors.append(Mismatch(path, keyword, expected, value, **more))

    def attempt(self, value: Any, schema: Any, path: Path, lax: bool) -> tuple[Any, list[Mismatch]]:
        """``value`` as ``schema`` reads it, and the errors, without recording them."""
        kept, self.errors, was_lax, self.lax = self.errors, [], self.lax, lax
        try:
            return self.visit(value, schema, path), self.errors
        finally:
            self.errors, self.lax = kept, was_lax

    def visit(self, value: Any, schema: Any, path: Path) -> Any:
        """``value`` against one schema, keyword by keyword; after a wrong type the other keywords say nothing."""
        if schema is True or not schema:
            if schema is False:
                self.fail(path, "false", False, value)
            return value
        if "$ref" in schema:
            value = self.visit(value, self.resolve(schema["$ref"]), path)
        if "type" in schema:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            if not any(_is_type(value, name) for name in types):
                converted = _convert(value, types) if self.lax else _NO
                if converted is _NO:
                    self.fail(path, "type", types, value, of_texts="array" in types and _of_texts(schema))
                    return value
                value = converted
        if "enum" in schema and not any(_same(value, item) for item in schema["enum"]):
            self.fail(path, "enum", schema["enum"], value)
        if "const" in schema and not _same(value, schema["const"]):
            self.fail(path, "enum", [schema["const"]], value)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                value = self.any_of(value, schema[keyword], path, exactly_one=keyword == "oneOf")
        if isinstance(value, str):
            self.string(value, schema, path)
        elif isinstance(value, dict):
            value = self.mapping(value, schema, path)
        elif isinstance(value, list):
            value = self.sequence(value, schema, path)
        elif _is_type(value, "number"):
            self.number(value, schema, path)
        for branch in schema.get("allOf", ()):
            value = self.visit(value, branch, path)
        if "if" in schema:
            _, errors = self.attempt(value, schema["if"], path, self.lax)
            value = self.visit(value, schema.get("else" if errors else "then", True), path)
        return value

    def resolve(self, reference: str) -> Any:
        """What ``$ref`` points at: in this schema (#/$defs/…), or in another shipped one (gpu.json#/…)."""
        return referred(reference, self.root)[1]

    def any_of(self, value: Any, branches: list[Any], path: Path, *, exactly_one: bool) -> Any:
        """``value`` as the first branch that it passes reads it; in lax mode one that takes it unconverted goes first.

        Where none takes it, one error, or those of the branch that it was meant for.
        """
        for lax in (False, True) if self.lax else (False,):
            results = [self.attempt(value, branch, path, lax) for branch in branches]
            passed = [result for result, errors in results if not errors]
            if passed and (len(passed) == 1 or not exactly_one):
                return passed[0]
            if passed:
                self.fail(path, "oneOf", branches, value)
                return value
        keyword = "oneOf" if exactly_one else "anyOf"
        if all(isinstance(branch, dict) and branch.keys() == {"required"} for branch in branches):
            self.fail(path, keyword, branches, value)
            return value
        # The branch that the value was meant for: of those that get past the type, the one that fits best.
        near = [errors for _, errors in results if not any(e.path == path and e.keyword == "type" for e in errors)]
        if len(near) == 1 or (near and isinstance(value, dict | list)):
            self.errors.extend(sorted(near, key=len)[0])
        else:
            named = (branch for branch in branches if isinstance(branch, dict))
            resolved = [self.resolve(branch["$ref"]) if "$ref" in branch else branch for branch in named]
            self.fail(path, keyword, resolved, value)
        return value

    def string(self, value: str, schema: Json, path: Path) -> None:
        if "pattern" in schema and not re.search(schema["pattern"], value):
            self.fail(path, "pattern", schema["pattern"], value)
        if len(value) < schema.get("minLength", 0):
            self.fail(path, "minLength", schema["minLength"], value)
        if len(value) > schema.get("maxLength", math.inf):
            self.fail(path, "maxLength", schema["maxLength"], value)

    def number(self, value: float, schema: Json, path: Path) -> None:
        for keyword, ok in (
            ("minimum", value >= schema.get("minimum", -math.inf)),
            ("maximum", value <= schema.get("maximum", math.inf)),
            ("exclusiveMinimum", "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]),
            ("exclusiveMaximum", "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]),
        ):
            if keyword in schema and not ok:
                self.fail(path, keyword, schema[keyword], value)
                if math.isnan(value):
                    return  # it is outside of every bound: one error says so

    def sequence(self, value: list[Any], schema: Json, path: Path) -> list[Any]:
        if len(value) < schema.get("minItems", 0):
            self.fail(path, "minItems", schema["minItems"], value)
        if len(value) > schema.get("maxItems", math.inf):
            self.fail(path, "maxItems", schema["maxItems"], value)
        if schema.get("uniqueItems") and any(_same(a, b) for i, a in enumerate(value) for b in value[:i]):
            self.fail(path, "uniqueItems", True, value)
        prefix = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        if not prefix and rest is True:
            return value
        return [self.visit(item, prefix[i] if i < len(prefix) else rest, (*path, i)) for i, item in enumerate(value)]

    def mapping(self, value: dict[Any, Any], schema: Json, path: Path) -> dict[Any, Any]:
        for name in schema.get("required", ()):
            if name not in value:
                self.fail((*path, name), "required", name, value)
        if len(value) < schema.get("minProperties", 0):
            self.fail(path, "minProperties", schema["minProperties"], value)
        if "propertyNames" in schema:
            for key in value:
                self.visit(key, schema["propertyNames"], (*path, key))
        properties: Json = schema.get("properties", {})
        patterns: Json = schema.get("patternProperties", {})
        additional = schema.get("additionalProperties", True)
        if additional is True and not patterns:  # nothing is asked of the other keys: look up the few that are named
            changed = {
                key: self.visit(value[key], sub, (*path, key)) for key, sub in properties.items() if key in value
            }
            return value | changed if changed else value
        result = {}
        for key, item in value.items():
            here = (*path, key)
            if isinstance(key, str) and key in properties:
                item = self.visit(item, properties[key], here)
            matching = [sub for pattern, sub in patterns.items() if isinstance(key, str) and re.search(pattern, key)]
            for sub in matching:
                item = self.visit(item, sub, here)
            if not matching and not (isinstance(key, str) and key in properties):
                if additional is False:
                    self.fail(here, "additionalProperties", False, item, known=tuple(properties))
                else:
                    item = self.visit(item, additional, here)
            result[key] = item
        return result


_NO: Any = object()
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "off"))


def _of_texts(schema: Json) -> bool:
    """Whether a list of that schema holds texts."""
    items = schema.get("items")
    named = items if isinstance(items, dict) else {}
    return named.get("type") == "string" or any(isinstance(item, str) for item in named.get("enum", ()))


def _is_type(value: Any, name: str) -> bool:
    if name == "boolean":
        return isinstance(value, bool)
    if name == "integer":
        return not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        )
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "string":
        return isinstance(value, str)
    if name == "null":
        return value is None
    return isinstance(value, dict if name == "object" else list)


def _convert(value: Any, types: list[str]) -> Any:
    """What pydantic's lax mode makes of ``value`` for the first of ``types`` that takes it; ``_NO`` if none does.

    https://docs.pydantic.dev/latest/concepts/conversion_table/: whole floats and numeric strings are integers,
    numbers and numeric strings are floats, 0, 1 and the words of YAML 1.1 are booleans; nothing becomes a string.
    """
    for name in types:
        if name in ("integer", "number") and isinstance(value, str | bool):
            try:
                number = float(value)
            except ValueError:
                continue
            if name == "number":
                return number
            if number.is_integer():
                return int(number)
        if name == "boolean":
            if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
                return value.lower() in _TRUE
            if isinstance(value, int | float) and value in (0, 1):
                return bool(value)
    return _NO


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def type_name(value: Any) -> str:
    """What a person calls the type of a YAML value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return "a date" if isinstance(value, date) else names.get(type(value), type(value).__name__)
