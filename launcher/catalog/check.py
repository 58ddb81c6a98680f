"""Check data against one of the schemas under schemas/, with all problems at once, each with its line."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from launcher import json_schema
from launcher.errors import Problem, did_you_mean, nearest
from launcher.json_schema import Json, Mismatch, type_name
from launcher.yaml_source import Positions

BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}


def check(data: Any, schema: str, *, file: str | None = None, positions: Positions | None = None) -> list[Problem]:
    """The problems of ``data`` by ``schema`` (a file name such as "gpu.json"), in the file's order; [] when valid."""
    problems = []
    for mismatch in json_schema.check(data, schema.removesuffix(".json")).errors:
        message, hint, at_key = _explain(mismatch)
        hint = hint or _description(json_schema.load_schema(schema.removesuffix(".json")), mismatch.path)
        line = column = None
        if positions is not None:
            place = positions.key(mismatch.path) if at_key else positions.value(mismatch.path)
            line, column = place.line, place.column
        problems.append(Problem(message, file=file, line=line, column=column, hint=hint))
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _explain(mismatch: Mismatch) -> tuple[str, str | None, bool]:
    """What is wrong, what would be right, and whether the key is to blame rather than the value."""
    name = ".".join(str(part) for part in mismatch.path) or "the file"
    value, expected = mismatch.value, mismatch.expected
    match mismatch.keyword:
        case "additionalProperties":
            return f"unknown key {name!r}", did_you_mean(str(mismatch.path[-1]), mismatch.known), True
        case "required":
            return f"the key {name!r} is missing", None, True
        case "type":
            wanted = " or ".join(expected)
            hint = None
            if "number" in expected and _is_number(value):
                hint = f"YAML reads {value} as text: write it with a point, such as 2.0e-4"
            if "array" in expected and isinstance(value, str):
                hint = f"a list has brackets: [{value}]"
            return f"{name} must be of type {wanted}, not {type_name(value)}", hint, False
        case "enum":
            guess = nearest(str(value), [str(item) for item in expected])
            hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(str(item) for item in expected)}"
            return f"{name} cannot be {value!r}", hint, False
        case keyword if keyword in BOUNDS and isinstance(value, float) and not math.isfinite(value):
            return f"{name} must be a finite number, not {value}", None, False
        case keyword if keyword in BOUNDS:
            return f"{name} must be {BOUNDS[keyword]} {_shown(expected)}, not {_shown(value)}", None, False
        case "minItems" | "minLength" if expected == 1:
            return f"{name} must not be empty", None, False
        case "uniqueItems":
            return f"{name} names something twice: {', '.join(str(item) for item in value)}", None, False
        case keyword:
            return f"{name}: {value!r} does not satisfy {keyword} {expected}", None, False


def _shown(number: float) -> str:
    """A whole number in full: its last digits count where it is a bound."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def _description(schema: Json, path: tuple[Hashable, ...]) -> str | None:
    """What the schema says of the key at ``path``; it may lie in another file, behind a ``$ref``."""
    for part in path:
        if "$ref" in schema:
            schema = json_schema.load_schema(schema["$ref"].removesuffix(".json"))
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
    text: str | None = schema.get("description")
    return text


def _is_number(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
