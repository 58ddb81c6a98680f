"""Check data against one of the schemas under schemas/, with all problems at once, each with its line."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from launcher import json_schema
from launcher.catalog.explain import explain
from launcher.errors import Problem
from launcher.json_schema import Json, Mismatch
from launcher.yaml_source import Positions


def check(data: Any, schema: str, *, file: str | None = None, positions: Positions | None = None) -> list[Problem]:
    """The problems of ``data`` by ``schema`` (a file name such as "gpu.json"), in the file's order; [] when valid."""
    problems = []
    for mismatch in json_schema.check(data, schema.removesuffix(".json")).errors:
        said = explain(mismatch, ".".join(str(part) for part in mismatch.path) or "the file")
        hint = _hint(
            mismatch, said.hint, _description(json_schema.load_schema(schema.removesuffix(".json")), mismatch.path)
        )
        line = column = None
        if positions is not None:
            place = positions.key(mismatch.path) if said.of_key else positions.value(mismatch.path)
            line, column = place.line, place.column
        problems.append(Problem(said.message, file=file, line=line, column=column, hint=hint))
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _hint(mismatch: Mismatch, hint: str, description: str | None) -> str | None:
    """What would be right, behind what the schema says of the key."""
    if description is None or mismatch.keyword in ("additionalProperties", "enum"):
        return hint or None
    if not hint or mismatch.keyword == "required":
        return description
    return f"{description.removesuffix('.')}: {hint}"


def _description(schema: Json, path: tuple[Hashable, ...]) -> str | None:
    """What the schema says of the key at ``path``; it may lie behind a ``$ref``, in another file or in this one."""
    root = schema
    for part in path:
        if "$ref" in schema:
            root, schema = json_schema.referred(schema["$ref"], root)
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
    text: str | None = schema.get("description")
    return text
