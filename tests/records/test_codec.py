"""The codec: every record that can be written is read as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from launcher.errors import Unreadable
from launcher.records.codec import LATE, Record, decode, encode


@dataclass(kw_only=True)
class Inner(Record):
    count: int
    share: float | None = None
    late: Annotated[str | None, LATE] = None


@dataclass(kw_only=True)
class Outer(Record):
    name: str
    kind: Literal["a", "b"] = "a"
    on: bool = False
    inner: Inner | None = None
    several: list[Inner] = field(default_factory=list)
    by_name: dict[str, list[float]] = field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    some: tuple[int, ...] = ()
    names: frozenset[str] = frozenset()
    either: str | dict[str, str] = ""
    anything: Any = None
    late: Annotated[list[int], LATE] = field(default_factory=list)


KEYS = some.text(min_size=1, max_size=5)
NUMBERS = some.floats(allow_nan=False, allow_infinity=False) | some.integers()
JSON = some.recursive(
    some.none() | some.booleans() | NUMBERS | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
EXTRA = some.dictionaries(KEYS.map("x-{}".format), JSON, max_size=2)
INNERS = some.builds(
    Inner, count=some.integers(), share=some.none() | NUMBERS, late=some.none() | some.text(), extra=EXTRA
)
OUTERS = some.builds(
    Outer,
    name=some.text(),
    kind=some.sampled_from(["a", "b"]),
    on=some.booleans(),
    inner=some.none() | INNERS,
    several=some.lists(INNERS, max_size=3),
    by_name=some.dictionaries(KEYS, some.lists(NUMBERS, max_size=3), max_size=3),
    pair=some.tuples(some.integers(), some.text()),
    some=some.lists(some.integers(), max_size=3).map(tuple),
    names=some.frozensets(some.text(), max_size=3),
    either=some.text() | some.dictionaries(KEYS, some.text(), max_size=2),
    anything=JSON,
    late=some.lists(some.integers(), max_size=2),
    extra=EXTRA,
)


@given(OUTERS)
def test_what_is_written_is_read_as_it_was(record: Outer) -> None:
    text = json.dumps(encode(record))
    again = decode(Outer, json.loads(text))
    assert again == record
    assert json.dumps(encode(again)) == text, "and written again letter by letter"


@given(JSON)
def test_anything_else_is_one_clear_error(data: Any) -> None:
    try:
        record = decode(Outer, data)
    except Unreadable:
        return
    assert encode(record) == data


def test_a_key_that_is_amended_is_written_even_where_it_says_nothing() -> None:
    record = Inner(count=1)
    assert encode(record) == {"count": 1, "share": None}
    record.amend({"late": None, "more": 2})
    assert encode(record) == {"count": 1, "share": None, "late": None, "more": 2}
    with pytest.raises(Unreadable, match="count must be a whole number, not 'x'"):
        record.amend({"count": "x"})


def test_a_copy_is_apart() -> None:
    record = Outer(name="n", several=[Inner(count=1)])
    copy = record.copy()
    copy.several[0].count = 2
    assert record.several[0].count == 1


@pytest.mark.parametrize("value", [True, 1.5, "1", None])
def test_a_whole_number_is_nothing_else(value: object) -> None:
    with pytest.raises(Unreadable, match="count must be a whole number"):
        decode(Inner, {"count": value})
