"""docs/reference/schemas.md: the keys of every kind of file, from schemas/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from references.text import code, page, table

ROOT = Path(__file__).resolve().parents[2]
# File and how an editor or `ql validate` finds out that it is meant; Axolotl's are too long for a page.
ORDER = ("job", "settings", "preset", "sizes", "gpu", "model", "family", "recipe", "golden", "unsloth", "run")


def schemas_page() -> str:
    known = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "schemas").glob("*.json")}
    ours = [name for name in known if not name.startswith("axolotl-")]
    intro = [
        "JSON Schema 2020-12, one file for each kind, under `schemas/` of the project. An editor with a YAML language",
        "server reads the first line of a file, such as `# yaml-language-server: $schema=gpu.json`; `ql validate`",
        "finds out by itself, or is told with `--kind`.",
    ]
    names = sorted(ours, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    parts = [list(_schema(name, known[name])) for name in names]
    return page("Schemas", "`schemas/*.json`", intro, *parts, list(_axolotl(known)))


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}.json"
    yield ""
    yield schema.get("description", schema.get("title", ""))
    yield ""
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    rows = [_row(key, value, key in required) for key, value in properties.items()]
    if rows:
        yield from table(("key", "value", "meaning"), rows)


def _row(key: str, schema: dict[str, Any], required: bool) -> tuple[str, str, str]:
    return code(key) + (" (required)" if required else ""), describe(schema), schema.get("description", "")


def describe(schema: dict[str, Any]) -> str:
    """What a value may be, on one line."""
    if "$ref" in schema:
        target = schema["$ref"].partition("#")[0]
        return f"see {target}" if target else "see above"
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return " or ".join(dict.fromkeys(describe(branch) for branch in schema[keyword]))
    kinds = schema.get("type", "any")
    words = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if kinds == "array" and "items" in schema:
        words = f"list of: {describe(schema['items'])}"
    bounds = [
        f"{sign} {schema[keyword]}"
        for keyword, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if keyword in schema
    ]
    return " ".join([words, *([", ".join(bounds)] if bounds else [])])


def _axolotl(known: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "## Axolotl's configs"
    yield ""
    yield "Made by `scripts/make_axolotl_schema.py` from Axolotl's own models, with descriptions of our own."
    yield ""
    rows = [
        (f"{name}.json", str(len(schema["properties"]))) for name, schema in sorted(known.items()) if "axolotl-" in name
    ]
    yield from table(("schema", "top-level keys"), rows)
