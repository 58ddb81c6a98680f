"""Check data against one of the JSON Schemas under schemas/, with all problems at once, each with its line."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from launcher.errors import Problem, did_you_mean
from launcher.resources import resource
from launcher.yaml_source import Positions

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    def read(uri: str) -> Resource[Any]:
        return Resource.from_contents(json.loads(resource("schemas", uri).read_text(encoding="utf-8")))

    registry: Registry[Any] = Registry(retrieve=read)  # type: ignore[call-arg]  # attrs alias that mypy does not see
    return Draft202012Validator(read(name).contents, registry=registry)


def check(data: Any, schema: str, *, file: str | None = None, positions: Positions | None = None) -> list[Problem]:
    """The problems of ``data`` by ``schema`` (a file name such as "gpu.json"), in the file's order; [] when valid."""
    problems = [
        problem for error in _validator(schema).iter_errors(data) for problem in _explain(error, file, positions)
    ]
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0, problem.message))


def _explain(error: ValidationError, file: str | None, positions: Positions | None) -> list[Problem]:
    path = tuple(error.absolute_path)
    name = ".".join(str(part) for part in path)

    def problem(message: str, *, key: Any = None, hint: str | None = None) -> Problem:
        if positions is None:
            return Problem(message, file=file, hint=hint)
        place = positions.value(path) if key is None else positions.key((*path, key))
        return Problem(message, file=file, line=place.line, column=place.column, hint=hint)

    schema: Any = error.schema
    value: Any = error.validator_value
    instance: Any = error.instance
    hint = schema.get("description")
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            return [
                problem(f"unknown key {_join(name, key)!r}", key=key, hint=did_you_mean(str(key), known))
                for key in instance
                if key not in known
            ]
        case "required":  # one error per missing key
            key = next(key for key in value if key not in instance and repr(key) in error.message)
            return [problem(f"the key {_join(name, key)!r} is missing")]
        case "type":
            wanted = " or ".join(value) if isinstance(value, list) else str(value)
            if "number" in wanted and _is_number(instance):
                hint = f"YAML reads {instance} as text: write it with a point, such as 2.0e-4"
            return [problem(f"{name or 'the file'} must be of type {wanted}, not {_type(instance)}", hint=hint)]
        case "enum":
            choices = ", ".join(str(choice) for choice in value)
            return [problem(f"{name}: {instance!r} is none of: {choices}", hint=hint)]
        case _:
            return [problem(f"{name or 'the file'}: {error.message}", hint=hint)]


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _is_number(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _type(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
