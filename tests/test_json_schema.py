from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from properties import examples
from referencing import Registry, Resource

from launcher.json_schema import ANNOTATIONS, ASSERTIONS, check, load_schema
from launcher.resources import resource

SCHEMAS = sorted(path.stem for path in resource("schemas").glob("*.json"))


def reference(schema: Any) -> Draft202012Validator:
    def read(uri: str) -> Resource[Any]:
        return Resource.from_contents(json.loads(resource("schemas", uri).read_text(encoding="utf-8")))

    return Draft202012Validator(schema, registry=Registry(retrieve=read))


def keywords(node: Any, names_follow: bool = False) -> set[str]:
    """The keywords of a schema; the keys of ``properties`` and ``$defs`` are names."""
    if isinstance(node, list):
        return set().union(*(keywords(item) for item in node))
    if not isinstance(node, dict):
        return set()
    found = set() if names_follow else set(node)
    for key, value in node.items():
        if names_follow or key not in ("enum", "const", "default", "examples"):
            maps = key in ("properties", "patternProperties", "$defs") and not names_follow
            found |= keywords(value, names_follow=maps)
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_shipped_schemas_use_what_the_checker_knows(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert keywords(schema) <= ASSERTIONS | ANNOTATIONS


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.floats(-2, 70, allow_nan=False)
    | st.sampled_from(["", "a", "chatml", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "type", "path", "role"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def near(schema_name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings whose keys the schema knows, with values that are often right."""
    names = sorted(load_schema(schema_name)["properties"])
    return st.dictionaries(st.sampled_from(names) | st.just("unknown_key"), json_values, max_size=8)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_verdict_is_jsonschemas(name: str) -> None:
    schema = load_schema(name)
    validator = reference(schema)

    @settings(max_examples=examples(150), deadline=None, database=None)
    @given(near(name))
    def compare(data: dict[str, Any]) -> None:
        assert (check(data, schema).errors == []) == validator.is_valid(data)

    compare()


sub = st.deferred(lambda: schemas)
schemas: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])}
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from([1, True, "a", None, 0, False]), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"anyOf": st.lists(sub, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"oneOf": st.lists(sub, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"allOf": st.lists(sub, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"if": sub, "then": sub, "else": sub}),
    st.fixed_dictionaries({"minimum": st.integers(0, 5), "exclusiveMaximum": st.integers(0, 60)}),
    st.fixed_dictionaries({"minLength": st.integers(0, 3), "pattern": st.sampled_from(["a", "^$", "t"])}),
    st.fixed_dictionaries(
        {"items": sub, "prefixItems": st.lists(sub, min_size=1, max_size=2), "maxItems": st.integers(0, 3)}
    ),
    st.fixed_dictionaries(
        {
            "properties": st.fixed_dictionaries({"a": sub, "path": sub}),
            "additionalProperties": sub,
            "required": st.just(["a"]),
        }
    ),
    st.fixed_dictionaries(
        {"patternProperties": st.fixed_dictionaries({"^r": sub}), "minProperties": st.integers(0, 2)}
    ),
    st.fixed_dictionaries({"uniqueItems": st.booleans(), "minItems": st.integers(0, 2)}),
)


@settings(max_examples=examples(400), deadline=None, database=None)
@given(schemas, json_values)
def test_the_verdict_is_jsonschemas_for_any_schema(schema: Any, data: Any) -> None:
    assert (check(data, schema).errors == []) == reference(schema).is_valid(data)


@pytest.mark.parametrize(
    ("value", "types", "seen"),
    [
        ("16", "integer", 16),
        (16.0, "integer", 16.0),
        ("2e-4", "number", 0.0002),
        (True, "number", 1.0),
        ("Yes", "boolean", True),
        (0, "boolean", False),
    ],
)
def test_lax_values_come_back_as_pydantic_reads_them(value: Any, types: str, seen: Any) -> None:
    found = check(value, {"type": types}, mode="lax")
    assert (found.data, found.errors) == (seen, [])
    strict = check(value, {"type": types})
    assert bool(strict.errors) == (not isinstance(value, float))


@pytest.mark.parametrize(
    ("value", "types"), [(16, "string"), ("16.5", "integer"), ("maybe", "boolean"), ("x", "number"), (2, "boolean")]
)
def test_lax_has_limits(value: Any, types: str) -> None:
    assert [error.keyword for error in check(value, {"type": types}, mode="lax").errors] == ["type"]


def test_the_nearest_branch_is_told() -> None:
    schema = {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "null"}]}
    [error] = check({"a": "x"}, schema).errors
    assert error.path == ("a",)


def test_schemas_are_found() -> None:
    assert {"axolotl-0.17", "axolotl-0.18", "axolotl-0.19", "gpu", "settings"} <= set(SCHEMAS)
    assert Path(resource("schemas", "axolotl-0.19.json")).stat().st_size < 200_000
