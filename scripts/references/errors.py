"""docs/reference/errors.md: what `ql` says when something is wrong, read off the source with its hints.

Every error of ql is a `Problem`, or one of three exceptions, each with its exit code (launcher/errors.py). Their texts
are literals, so the source is the list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from references.text import cell, page, table

ROOT = Path(__file__).resolve().parents[2]
# Of the exceptions that errors are raised as; classes derived from them are found in the source.
CODES = {"BadInput": 1, "Unreadable": 2, "UsageError": 2, "RunFailed": 3}
TITLES = {
    1: "Exit code 1: the thing checked is bad",
    2: "Exit code 2: wrong usage, or an input that cannot be read",
    3: "Exit code 3: the run could not start, or a stage of it failed",
    0: "Said together with others, under the exit code of what was checked",
}
HOLE = "…"
# Kinds of failure of a training that launcher/processes/faults.py has no text for.
KINDS = {
    "oom_train": "out of GPU memory in a training step",
    "oom_eval": "out of GPU memory in an evaluation",
    "stall": "no step for longer than --stall-after",
    "exit": "the trainer's process ended without an exception of its own: killed, or a CUDA error",
    "disk_full": "no space left for checkpoints",
    "broken": "anything else: no repair can help",
}


@dataclass(frozen=True, order=True)
class Message:
    """A text with its hint; what the program fills in is an ellipsis."""

    text: str
    hint: str
    module: str


def errors_page() -> str:
    found: dict[int, set[Message]] = {code: set() for code in TITLES}
    modules = sorted((ROOT / "launcher").rglob("*.py"))
    codes = exit_codes(modules)
    for path in modules:
        for code, message in messages(path, codes):
            found[code].add(message)
    intro = [
        "Each error is one line with the file, the line and the value where there are any, then what would be right.",
        "`…` stands for what the program fills in. Findings of `ql validate` have codes of their own:",
        "[the rules](../rules.md). What a trainer's log says: [troubleshooting](../troubleshooting.md).",
    ]
    parts = [
        [f"## {title}", "", *table(("message", "what to do", "said by"), _rows(found[code]))]
        for code, title in TITLES.items()
    ]
    return page("Errors", "the program's source", intro, list(_faults()), *parts)


def exit_codes(modules: list[Path]) -> dict[str, int]:
    """The exit code of each exception, with those that are derived from them."""
    codes = dict(CODES)
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                known = [codes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in codes]
                if known:
                    codes[node.name] = known[0]
    return codes


def _faults() -> Iterator[str]:
    """The kinds of failure of a training, as run.json and `ql runs` name them."""
    from launcher.processes.faults import CAUSES
    from launcher.runs.training.repairs import REPAIRS

    yield "## Failures of a training"
    yield ""
    yield "As run.json names them, with the option by which ql neither ends a run for it nor mends it."
    yield ""
    switch = {kind: f"`--no-repair {name}`" for name, kinds in REPAIRS.items() for kind in kinds}
    said = CAUSES | KINDS
    rows = [(f"`{kind}`", said[kind], switch.get(kind, "")) for kind in dict.fromkeys([*switch, *said])]
    yield from table(("kind", "what it is", "option"), rows)


def _rows(found: set[Message]) -> list[tuple[str, str, str]]:
    """One row for each text and hint, with all modules that say it."""
    modules: dict[tuple[str, str], list[str]] = {}
    for one in sorted(found, key=lambda one: (one.text.lower(), one.text, one.hint, one.module)):
        modules.setdefault((one.text, one.hint), []).append(f"`{one.module.removeprefix('launcher/')}`")
    return [(text, hint, ", ".join(said_by)) for (text, hint), said_by in modules.items()]


def messages(path: Path, codes: dict[str, int]) -> list[tuple[int, Message]]:
    """(exit code, message) of every error that a module makes; code 0 where a Problem is collected for later."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = _assignments(tree)
    module = path.relative_to(ROOT).as_posix()
    found = []
    inside: set[ast.AST] = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = _name(call)
        if name in codes:
            for part in ast.walk(call):
                if _is_problem(part):
                    inside.add(part)
                    found.append((codes[name], part))
            found.append((codes[name], call))
        elif _is_problem(call) and call not in inside:
            found.append((0, call))
    out = []
    for code, call in found:
        names = {name: value for name, lines, value in assigned if call.lineno in lines and value.lineno <= call.lineno}
        text, hint = _message(call, names)
        if text:
            out.append((code, Message(cell(text), cell(hint), module)))
    return out


def _message(call: ast.Call, names: dict[str, ast.expr]) -> tuple[str, str]:
    """The text and the hint that are given to a call; empty where it only passes a Problem on."""
    if not call.args or _is_problem(call.args[0]):
        return "", ""
    texts = [_text(part, names) for part in call.args]
    hint = next((_text(key.value, names) for key in call.keywords if key.arg == "hint"), "")
    if _is_helper(call):  # the message stands behind the place or before it, and the hint after both
        texts = [text for text in texts if " " in text]
        hint = hint or "".join(texts[1:2])
    return (texts or [""])[0], hint


def _name(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _is_problem(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and (_name(node) in ("Problem", "NotYaml") or _is_helper(node))


def _is_helper(call: ast.Call) -> bool:
    """Whether it is one of the functions and methods that put a message and a place together to a Problem."""
    return _name(call) in ("problem", "_problem")


def _assignments(tree: ast.Module) -> list[tuple[str, range, ast.expr]]:
    """Names with the lines of the function they are assigned in and what they are: `message = f"..."`, then its use.

    In the order of the lines, the module's own first.
    """
    found: list[tuple[str, range, ast.expr]] = []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assign)):
        inside = [range(part.lineno, (part.end_lineno or part.lineno) + 1) for part in functions]
        lines = min((part for part in inside if node.lineno in part), key=len, default=range(10**6))
        found += [(target.id, lines, node.value) for target in node.targets if isinstance(target, ast.Name)]
    return sorted(found, key=lambda one: (-len(one[1]), one[2].lineno))


def _text(node: ast.expr, names: dict[str, ast.expr], depth: int = 0) -> str:
    """The text of a literal, with an ellipsis for what is filled in; empty when it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, names, depth), _text(node.right, names, depth)
        return f"{left or HOLE}{right or HOLE}" if left or right else ""
    if isinstance(node, ast.IfExp):
        return _text(node.body, names, depth) or _text(node.orelse, names, depth)
    if isinstance(node, ast.Name) and depth < 3 and node.id in names:
        return _text(names[node.id], names, depth + 1)
    return ""
