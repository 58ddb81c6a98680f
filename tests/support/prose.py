"""Finds where a program reads words that are for people: what happened is to be said as data beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# What words for people are called here; of an exception, its own name and its text.
NAMES = frozenset(["message", "reason", "said", "told", "why", "hint", "cause", "error", "problem", "exc", "note"])
ERRORS = frozenset(["error", "problem", "exc", "failure", "caught", "e", "err"])
TESTS = frozenset(["startswith", "endswith", "find", "index", "count", "partition", "rpartition", "split"])
TESTS |= {"removeprefix", "removesuffix"}
PATTERNS = frozenset(["search", "match", "fullmatch", "findall", "finditer", "sub"])
SAME = frozenset(["lower", "casefold", "strip", "lstrip", "rstrip", "splitlines", "replace", "format"])  # words still
SENTENCE = re.compile(r"\w['\",;:.)]* ['\"(]*\w")


@dataclass(frozen=True)
class Reading:
    """A place where words are read: the function it is in (``Class.method``; empty outside of any), and how."""

    function: str
    line: int
    code: str


def readings(source: str, sentences: frozenset[str] = frozenset()) -> list[Reading]:
    """All of them in ``source``; ``sentences`` are names of constants that are sentences."""
    tree = ast.parse(source)
    finder = _Finder(sentences | constants(tree))
    finder.visit(tree)
    return finder.found


def constants(tree: ast.Module) -> frozenset[str]:
    """The names of the module's constants that are a sentence, or several."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _sentence(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


@dataclass
class _Finder(ast.NodeVisitor):
    sentences: frozenset[str]
    where: tuple[str, ...] = ()
    found: list[Reading] = field(default_factory=list)

    def inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        before, self.where = self.where, (*self.where, node.name)
        self.generic_visit(node)
        self.where = before

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = inside

    def report(self, node: ast.expr) -> None:
        self.found.append(Reading(".".join(self.where), node.lineno, ast.unparse(node)))

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        read = [one for one in node.ops if isinstance(one, ast.Eq | ast.NotEq | ast.In | ast.NotIn)]
        nothing = any(isinstance(side, ast.Constant) and side.value in ("", None) for side in sides)
        if read and not nothing and any(self.is_sentence(side) or is_prose(side) for side in sides):
            self.report(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            name, receiver = node.func.attr, node.func.value
            lines = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == "\n"
            asked = name in TESTS and not lines and (is_prose(receiver) or any(map(self.is_sentence, node.args[:1])))
            if asked or (name in PATTERNS and any(map(is_prose, node.args))) or (name == "get" and _key(node)):
                self.report(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if _is_argument(node) or (isinstance(node.ctx, ast.Load) and is_prose(node.slice)):
            self.report(node)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        if is_prose(node.subject):
            self.report(node.subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                if isinstance(part, ast.MatchValue) and self.is_sentence(part.value):
                    self.report(part.value)
        self.generic_visit(node)

    def is_sentence(self, node: ast.expr) -> bool:
        named = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        return named in self.sentences or _sentence(node)


def is_prose(node: ast.expr) -> bool:
    """Whether an expression is words for people, by what it is called."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in NAMES
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return key in NAMES
        case ast.Subscript(value=inner):
            return _is_argument(node) or is_prose(inner)
        case ast.Call(func=ast.Name(id="str" | "repr"), args=[inner]):
            return is_prose(inner) or _last_name(inner) in ERRORS
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(key)), *_]):
            return key in NAMES
        case ast.Call(func=ast.Attribute(attr=method, value=inner)):
            return method in SAME | TESTS and is_prose(inner)
        case ast.BoolOp(values=values):
            return any(map(is_prose, values))
    return False


def _is_argument(node: ast.Subscript) -> bool:
    """``error.args[0]``."""
    return isinstance(node.value, ast.Attribute) and node.value.attr == "args"


def _key(node: ast.Call) -> bool:
    """Whether a mapping is asked for what stands under some words."""
    return bool(node.args) and is_prose(node.args[0])


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _sentence(node: ast.expr) -> bool:
    return any(SENTENCE.search(text) for text in _texts(node))


def _texts(node: ast.expr) -> Iterator[str]:
    parts: Iterable[ast.expr] = ()
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.Dict(keys=keys):
            parts = [key for key in keys if key is not None]
        case ast.Call(func=ast.Name(id="frozenset" | "set" | "tuple"), args=parts):
            pass
    for part in parts:
        yield from _texts(part)
