"""Which tests need more than ql's core: a trainer and its libraries, a browser, the tools of the docs.

It is read off the source, so that it says the same wherever the tests are collected: `make quick` has none of those
libraries, and must still run every test that could run there. What a source does not show, such as a test that looks at
the installed trainers, is marked ``heavy`` by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

HEAVY = frozenset({
    "axolotl", "unsloth",
    "torch", "transformers", "peft", "bitsandbytes", "safetensors", "accelerate", "datasets", "trl",
    "trackio", "scipy",  # up to here they come with the trainers
    "pyarrow", "zstandard",  # of the extra that reads packed and columnar files
    "playwright", "axe_playwright_python", "material", "matplotlib",
})  # fmt: skip
# As many as `make quick` collected when this was last changed, or a few less: a test that leaves it unseen is noticed.
FEWEST = 7050
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def file_is_heavy(path: Path) -> bool:
    """Whether the test file, or a conftest.py that is loaded for it, imports what is heavy when it is imported."""
    conftests = [folder / "conftest.py" for folder in path.parents if (folder / "conftest.py").is_file()]
    return any(map(_import_is_heavy, (path, *conftests)))


def is_heavy(path: Path, test: str, fixtures: Iterable[tuple[Path, str]]) -> bool:
    """Whether the function ``test`` of ``path`` imports what is heavy, or a fixture, or a function that they call.

    ``fixtures`` are the file and the function of each.
    """
    return file_is_heavy(path) or any(_function_is_heavy(file, name) for file, name in ((path, test), *fixtures))


@cache
def _import_is_heavy(path: Path) -> bool:
    return bool(HEAVY & imported(_outside_functions(_tree(path))))


@cache
def _function_is_heavy(path: Path, name: str) -> bool:
    functions = _functions(path)
    seen: set[str] = set()
    left = [name]
    while left:
        name = left.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        nodes = list(ast.walk(functions[name]))
        if HEAVY & imported(nodes):
            return True
        left += [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return False


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _functions(path: Path) -> dict[str, Function]:
    return {node.name: node for node in ast.walk(_tree(path)) if isinstance(node, Function)}


def _outside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when the module is imported; not what only a type checker reads."""
    left: list[ast.AST] = list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, Function | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            left += node.orelse
            continue
        yield node
        left += ast.iter_child_nodes(node)


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The packages that these import, by a statement or by pytest.importorskip."""
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "importorskip":
            names += [str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)]
    return {name.partition(".")[0] for name in names}
