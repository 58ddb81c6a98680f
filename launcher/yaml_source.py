"""Read a YAML file with the place of every key and value, or say in one clear error why it cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from launcher.errors import Problem, Unreadable
from launcher.files import read_bounded_bytes

# libyaml's parser is about ten times as fast; PyYAML built without it still works.
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MERGE_TAG = "tag:yaml.org,2002:merge"
MAX_DEPTH = 100  # PyYAML composes recursively, and its C build overflows the stack instead of raising
MAX_VALUES = 1_000_000  # aliases of aliases can name more values than any memory holds

KeyPath = tuple[Hashable, ...]
Fault = Literal["syntax", "encoding", "tab", "repeated_key", "documents", "number"]


@dataclass(frozen=True)
class NotYaml(Problem):
    """Why a text is not the one YAML document that it should be."""

    fault: Fault = "syntax"


@dataclass(frozen=True)
class Spot:
    """A place in a file; the numbers start at 1. ``end`` is the column after it, 0 when it ends on another line."""

    line: int
    column: int
    end: int = field(default=0, compare=False)


def _place(node: yaml.Node) -> Spot:
    start, stop = node.start_mark, node.end_mark
    return Spot(start.line + 1, start.column + 1, stop.column + 1 if stop.line == start.line else 0)


def _order(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line, node.start_mark.column


@dataclass
class Positions:
    """Where each key and each value of a YAML document stands.

    A path is a tuple of mapping keys and list indices, ``("datasets", 0, "path")``; ``()`` is the whole document.
    A value taken from an anchor stands where the anchor is. ``shared`` are the top-level keys whose value is used again
    by an alias: it is there to be referred to.
    """

    keys: dict[KeyPath, Spot] = field(default_factory=dict)
    values: dict[KeyPath, Spot] = field(default_factory=dict)
    shared: set[KeyPath] = field(default_factory=set)

    def key(self, path: KeyPath) -> Spot:
        """The place of the key (or of the list item) at ``path``, or of its nearest parent that is in the file."""
        return self._nearest(self.keys, path)

    def value(self, path: KeyPath) -> Spot:
        """The place of the value at ``path``, or of its nearest parent that is in the file."""
        return self._nearest(self.values, path)

    def _nearest(self, places: dict[KeyPath, Spot], path: KeyPath) -> Spot:
        for length in range(len(path), -1, -1):
            found = places.get(path[:length]) or self.values.get(path[:length])
            if found:
                return found
        return Spot(1, 1)


LARGEST = 16 * 2**20  # bytes of a YAML file; a config has a few thousand


def load_yaml(path: Path) -> tuple[Any, Positions]:
    """The data of the one YAML document in the file at ``path`` (None for an empty file), and its positions.

    Raises Unreadable: no such file, not UTF-8, not YAML, duplicate keys (all of them), or more than one document.
    """
    try:
        raw = read_bounded_bytes(path, LARGEST)
    except OSError as error:
        raise Unreadable(Problem(f"cannot be read: {error.strerror or error}", file=str(path))) from None
    return parse_yaml(raw, file=str(path))


def parse_yaml(raw: bytes | str, *, file: str) -> tuple[Any, Positions]:
    """Like `load_yaml`, for text that is at hand; ``file`` is the name shown in errors."""
    text = _decode(raw, file) if isinstance(raw, bytes) else raw
    try:
        _check_shape(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, Positions()
            positions = _Walk(loader, file).run(node)
            return loader.construct_document(node), positions
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise Unreadable(_explain(error, text, file)) from None
    except (ValueError, OverflowError, TypeError, AttributeError) as error:  # such as the date 2024-99-99
        raise Unreadable(NotYaml(f"not valid YAML: {error}", file=file)) from None


def _decode(raw: bytes, file: str) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(NotYaml("this file is UTF-16; save it as UTF-8", file=file, fault="encoding"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"not UTF-8: byte 0x{raw[error.start]:02x}"
        hint = "save it as UTF-8"
        raise Unreadable(NotYaml(message, file, line, column, hint=hint, fault="encoding")) from None


def _check_shape(text: str, file: str) -> None:
    """Refuse what would break the composer: a second document, and nesting deeper than `MAX_DEPTH`."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable(_problem(f"nested deeper than {MAX_DEPTH} levels", event.start_mark, file))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                hint = "put it into a file of its own"
                raise Unreadable(
                    _problem("a second YAML document starts here", event.start_mark, file, hint, "documents")
                )


def _problem(message: str, mark: Any, file: str, hint: str | None = None, fault: Fault = "syntax") -> NotYaml:
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return NotYaml(message, file=file, line=line, column=column, hint=hint, fault=fault)


def _explain(error: yaml.YAMLError, text: str, file: str) -> NotYaml:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines()
        source = lines[mark.line] if mark and mark.line < len(lines) else ""
        indent = source[: len(source) - len(source.lstrip())]
        if mark and "\t" in indent:
            column = indent.index("\t") + 1
            hint = "YAML is indented with spaces"
            return NotYaml("a tab in the indentation", file, mark.line + 1, column, hint=hint, fault="tab")
        message = " ".join(part for part in (error.context, error.problem) if part)
        return _problem(f"not valid YAML: {message}", mark, file)
    if isinstance(error, yaml.reader.ReaderError):
        return _control_character(text, file)
    return NotYaml(f"not valid YAML: {error}", file=file)


def _control_character(text: str, file: str) -> NotYaml:
    """The first character that YAML does not allow (its C reader gives the place in bytes, the other in characters)."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if not found:
        return NotYaml("not valid YAML: a character that YAML does not allow", file=file)
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - text.rfind("\n", 0, found.start())
    return NotYaml(f"not valid YAML: control character U+{ord(found[0]):04X}", file=file, line=line, column=column)


class _Walk:
    """Collects the positions of a composed document, and its duplicate keys."""

    def __init__(self, loader: Any, file: str) -> None:
        self.loader = loader
        self.file = file
        self.positions = Positions()
        self.problems: dict[Problem, None] = {}  # a dict keeps the order; an anchor's duplicates are met once per alias
        self.open: set[int] = set()
        self.owners: dict[int, dict[int, tuple[yaml.Node, KeyPath]]] = {}  # of each value: its keys, and their paths
        self.merged: set[int] = set()
        self.count = 0

    def run(self, node: yaml.Node) -> Positions:
        self.visit(node, ())
        if self.problems:
            raise Unreadable(list(self.problems))
        self.positions.shared = set(self.anchored(node))
        return self.positions

    def anchored(self, root: yaml.Node) -> Iterator[KeyPath]:
        """The top-level keys in whose place an anchor stands that is used elsewhere."""
        for key_node, value_node in root.value if isinstance(root, yaml.MappingNode) else ():
            owners = self.owners.get(id(value_node), {})
            if id(key_node) in owners and (len(owners) > 1 or id(value_node) in self.merged):
                before = [owner for owner in owners.values() if _order(owner[0]) < _order(value_node)]
                if max(before, key=lambda owner: _order(owner[0]))[0] is key_node:
                    yield owners[id(key_node)][1]

    def visit(self, node: yaml.Node, path: KeyPath) -> None:
        self.count += 1
        if id(node) in self.open:
            raise Unreadable(_problem("an alias that contains itself", node.start_mark, self.file))
        if self.count > MAX_VALUES:
            raise Unreadable(_problem(f"aliases name more than {MAX_VALUES} values", node.start_mark, self.file))
        self.positions.values[path] = _place(node)
        if isinstance(node, yaml.ScalarNode) and (said := _read_otherwise(node, self.loader.construct_object(node))):
            self.problems[_problem(said[0], node.start_mark, self.file, said[1], "number")] = None
        self.open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.positions.keys[(*path, index)] = _place(item)
                self.visit(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            self.visit_mapping(node, path)
        self.open.discard(id(node))

    def visit_mapping(self, node: yaml.MappingNode, path: KeyPath) -> None:
        # `<<` first, so that the mapping's own keys win over merged ones, as in YAML
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in reversed(sources):
                    self.merged.add(id(source))
                    self.visit(source, path)
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                message = "a key must be a plain value, not a list or a mapping"
                self.problems[_problem(message, key_node.start_mark, self.file)] = None
                continue
            key = self.loader.construct_object(key_node)
            if key is None or isinstance(key, bool):
                shown = "nothing" if key is None else str(key).lower()
                message = f"the key {key_node.value or '(empty)'} is read as {shown}"
                self.problems[_problem(message, key_node.start_mark, self.file, "write it in quotes", "number")] = None
            if key in seen:
                message = f"the key {key!r} is already set on line {seen[key]}"
                self.problems[
                    _problem(message, key_node.start_mark, self.file, "keep one of the two", "repeated_key")
                ] = None
                continue
            seen[key] = key_node.start_mark.line + 1
            here = (*path, key)
            self.positions.keys[here] = _place(key_node)
            self.owners.setdefault(id(value_node), {}).setdefault(id(key_node), (key_node, here))
            self.visit(value_node, here)
        self.positions.values[path] = _place(node)


_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def _read_otherwise(node: yaml.ScalarNode, value: Any) -> tuple[str, str] | None:
    """What to say of a number that YAML 1.1 reads as another than what stands there, and what would be right."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"{node.value} is no number that a setting can have", "a number, or leave the key out"
    if _OCTAL.fullmatch(node.value) and isinstance(value, int) and value:
        meant = node.value.lstrip("+-0")
        return f"{node.value} is read as {value}: a leading zero makes it octal", f"{meant}, or {value}"
    if _SIXTIES.fullmatch(node.value):
        return f"{node.value} is read as {value}: colons count in sixties", f'"{node.value}" in quotes, or {value}'
    return None


def plain(text: bytes) -> Any:
    """The data of a YAML file that ql ships, without positions: such files are checked by tests."""
    return yaml.load(text, Loader=_Loader)  # _Loader is the safe one
