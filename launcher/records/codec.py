"""JSON to dataclasses and back: by their annotations, with one clear error for what is not as they say.

Own code, and small: it runs under the trainer's python too, where nothing but the standard library is sure to be, and
it keeps what libraries drop. A file that another version of ql wrote comes back as it was: keys that are not known
here stay, in their places, and keys that it has not are not added as long as they hold their defaults.

An annotation may be a dataclass that is a `Record`, str, bool, int, float (which takes whole numbers as they are),
None, a `Literal`, a union of these, ``list[T]``, ``tuple[T, ...]``, ``tuple[T, U]``, ``frozenset[T]``,
``dict[str, T]``, and object or Any for any JSON.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from launcher.errors import Unreadable


class Late:
    """Marks a key that is not written while it holds its default: it is added when there is something to say."""


LATE = Late()


@dataclass(frozen=True)
class Keywords:
    """What holds of a value beside its type, in the words of JSON Schema: ``Keywords({"minimum": 0})``."""

    keywords: Mapping[str, Any]


@dataclass(kw_only=True)
class Record:
    """What is written as one JSON object. ``extra`` has the keys that this version of ql does not know."""

    OTHERS: ClassVar[Any] = Any  # of which type the values of other keys are

    extra: dict[str, Any] = field(default_factory=dict)
    # How it stood in its file: its keys in their order, and the fields that it did not have.
    order: tuple[str, ...] = field(default=(), compare=False, repr=False)
    absent: frozenset[str] | None = field(default=None, compare=False, repr=False)

    def amend(self, values: Mapping[str, Any]) -> None:
        """Take ``values``, as JSON has them, for the keys that they name; they are written from now on."""
        known = _reader(type(self)).fields
        for key, value in values.items():
            if key in known:
                setattr(self, key, known[key].read(value, key))
            else:
                self.extra[key] = value
        self.absent = _absent(self) - frozenset(values)

    def says(self, name: str) -> bool:
        """Whether a field stands in the file, or is to be written."""
        return name not in _absent(self) or getattr(self, name) != _reader(type(self)).fields[name].default()

    def forget(self, name: str) -> None:
        """Set a field back to its default, and write it no more."""
        setattr(self, name, _reader(type(self)).fields[name].default())
        self.absent = _absent(self) | {name}

    def copy(self) -> Self:
        """The same record again: changing one does not change the other."""
        return decode(type(self), encode(self))


R = TypeVar("R", bound=Record)
BOOKKEEPING = frozenset(item.name for item in fields(Record))
_Read = Callable[[Any, str], Any]


def _wrong(where: str, wanted: str, value: Any) -> Unreadable:
    """A value that is not of its type: where it stands, what it must be, and what it is."""
    return Unreadable(f"{where or 'the record'} must be {wanted}, not {_shown(value)}")


@dataclass(frozen=True)
class _Known:
    """One field: how its value is read, and what it is where it is missing."""

    read: _Read
    item: Field[Any]
    late: bool

    @property
    def required(self) -> bool:
        return self.item.default is MISSING and self.item.default_factory is MISSING

    def default(self) -> Any:
        return self.item.default if self.item.default_factory is MISSING else self.item.default_factory()


@dataclass(frozen=True)
class _Reader:
    fields: dict[str, _Known]
    late: frozenset[str]
    other: _Read


def decode(kind: type[R], data: Any, *, file: str | None = None) -> R:
    """The record that ``data``, which is JSON, describes. Raises Unreadable naming the key that is wrong or missing."""
    try:
        return _read_record(kind, data, "")
    except Unreadable as error:
        if file is None:
            raise
        raise Unreadable(f"{file}: {error}") from None


def encode(record: Record) -> dict[str, Any]:
    """The record as JSON, which `decode` reads."""
    known = _reader(type(record)).fields
    found: dict[str, Any] = {}
    for name in dict.fromkeys((*record.order, *known, *record.extra)):
        if name in record.extra:
            found[name] = record.extra[name]
        elif name in known and record.says(name):
            found[name] = plain(getattr(record, name))
    return found


def fields_of(record: Record) -> dict[str, Any]:
    """The values of a record's fields by name, to make a larger one of them."""
    return {name: getattr(record, name) for name in _reader(type(record)).fields}


def plain(value: Any) -> Any:
    """Any value made of records, lists and mappings as JSON."""
    if isinstance(value, Record):
        return encode(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)
    return value


def hints_of(kind: type[Record]) -> dict[str, Any]:
    """The annotations of a record's fields by name, with what `Annotated` says of them."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: hints[item.name] for item in fields(kind) if item.name not in BOOKKEEPING}


def taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what `Annotated` says of it."""
    if get_origin(hint) is Annotated:
        kind, *said = get_args(hint)
        return kind, tuple(said)
    return hint, ()


def _absent(record: Record) -> frozenset[str]:
    return _reader(type(record)).late if record.absent is None else record.absent


_READERS: dict[type[Record], _Reader] = {}


def _reader(kind: type[Record]) -> _Reader:
    """How a kind of record is read, found out once."""
    if kind not in _READERS:
        _READERS[kind] = _find_out(kind)
    return _READERS[kind]


def _find_out(kind: type[Record]) -> _Reader:
    by_name = {item.name: item for item in fields(kind)}
    known = {}
    for name, hint in hints_of(kind).items():
        inner, marks = taken_apart(hint)
        known[name] = _Known(_read_as(inner), by_name[name], LATE in marks)
    late = frozenset(name for name, one in known.items() if one.late)
    return _Reader(known, late, _read_as(kind.OTHERS))


def _read_record(kind: type[R], data: Any, where: str) -> R:
    if not isinstance(data, dict):
        raise _wrong(where, "a mapping", data)
    reader = _reader(kind)
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in data.items():
        place = f"{where}.{key}" if where else str(key)
        known = reader.fields.get(key)
        if known is None:
            extra[key] = reader.other(value, place)
        else:
            values[key] = known.read(value, place)
    for name, known in reader.fields.items():
        if known.required and name not in values:
            raise _wrong(f"{where}.{name}" if where else name, "there", MISSING)
    absent = frozenset(name for name in reader.fields if name not in values)
    return kind(**values, extra=extra, order=tuple(data), absent=absent)


def _read_as(hint: Any) -> _Read:
    """How a value of that type is read."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _read_as(inside[0])
    if hint in (Any, object):
        return lambda value, where: value
    if origin in (Union, types.UnionType):
        return _one_of([(option, _read_as(option)) for option in inside])
    if origin is Literal:
        return _literal(inside)
    if origin is dict:
        return _mapping(_read_as(inside[1]))
    if origin in (list, tuple, frozenset):
        return _sequence(origin, inside)
    if isinstance(hint, type) and issubclass(hint, Record):
        return lambda value, where: _read_record(hint, value, where)
    return _scalar(hint)


def _scalar(hint: Any) -> _Read:
    takes, name = _SCALARS[hint]

    def read(value: Any, where: str) -> Any:
        if not takes(value):
            raise _wrong(where, name, value)
        return value

    return read


_SCALARS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    type(None): (lambda value: value is None, "null"),
}


def _literal(values: tuple[Any, ...]) -> _Read:
    wanted = "one of " + ", ".join(map(str, values)) if len(values) > 1 else str(values[0])

    def read(value: Any, where: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in values:
            raise _wrong(where, wanted, value)
        return value

    return read


def _one_of(options: list[tuple[Any, _Read]]) -> _Read:
    """The first that takes the value; the error is that of the one that comes nearest: a null is none of the others."""
    readers = [read for option, read in options if option is not type(None)]
    nullable = len(readers) < len(options)

    def read(value: Any, where: str) -> Any:
        if value is None and nullable:
            return None
        wrong: Unreadable | None = None
        for one in readers:
            try:
                return one(value, where)
            except Unreadable as error:
                wrong = error
        assert wrong is not None
        raise wrong

    return read


def _mapping(inner: _Read) -> _Read:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "a mapping", value)
        return {key: inner(item, f"{where}.{key}") for key, item in value.items()}

    return read


def _sequence(origin: type, inside: tuple[Any, ...]) -> _Read:
    fixed = [_read_as(one) for one in inside] if origin is tuple and inside[-1] is not Ellipsis else None
    inner = _read_as(inside[0])

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        if fixed is not None and len(value) != len(fixed):
            raise _wrong(where, f"a list of {len(fixed)}", value)
        each = fixed or [inner] * len(value)
        return origin(one(item, f"{where}.{index}") for index, (one, item) in enumerate(zip(each, value, strict=True)))

    return read


def _shown(value: Any) -> str:
    if value is MISSING:
        return "missing"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
