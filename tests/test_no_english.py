"""No state is recovered from words that are for people: who decided, what failed and how is data beside them.

The words of other programs are read where nothing else tells what happened: in the functions below, and nowhere else.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from prose import Reading, constants, readings

PACKAGE = Path(__file__).resolve().parent.parent / "launcher"
FILES = sorted(PACKAGE.rglob("*.py"))
LOG = "the log of a trainer, and what torch and CUDA raise: no other sign of what happened is left"
TOLD_ONCE = "what all rows share is told once: texts are held against each other, and nothing is read in them"
HINT = "a type hint of Python's"
# (file, function): why what it reads is not ql's own words.
ALLOWED: dict[tuple[str, str], str] = {
    ("processes/faults.py", "explain"): LOG,
    ("inject/ql_rescue.py", "ran_out"): LOG,
    ("records/decision.py", "sources_of"): "run.json of before it said who decided: its reasons are all there is",
    ("data/formats.py", "optional_keys"): "a chat message of a row: a mapping",
    ("data/rendering.py", "Renderer._with_thought"): "a chat message of a row: a mapping",
    ("data/chat.py", "prompt_settings"): "a mark of ql's own, looked for in what a chat template made of it",
    ("data/chat.py", "_before_answers"): "a mark of ql's own, looked for in what a chat template made of it",
    ("data/tables.py", "table_rows"): "the csv module: nothing else tells that the file ended within a row",
    ("data/findings.py", "Findings.add"): TOLD_ONCE,
    ("data/findings.py", "Findings.told"): TOLD_ONCE,
    ("data/findings.py", "_fault"): TOLD_ONCE,
    ("jobs/golden/prompts.py", "end_of_turn"): "a mark of ql's own, looked for in what a chat template made of it",
    ("records/codec.py", "_read_as"): HINT,
    ("records/codec.py", "_scalar"): HINT,
    ("records/schema.py", "_schema"): HINT,
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


SENTENCES = frozenset(name for path in FILES for name in constants(ast.parse(path.read_text(encoding="utf-8"))))


def unallowed(path: Path) -> list[Reading]:
    found = readings(path.read_text(encoding="utf-8"), SENTENCES)
    return [one for one in found if (relative(path), one.function) not in ALLOWED]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_words_are_read(path: Path) -> None:
    said = [f"launcher/{relative(path)}:{one.line}: {one.code}" for one in unallowed(path)]
    assert not said, "read what happened from data, not from words:\n" + "\n".join(said)


def test_every_allowance_is_needed() -> None:
    met = {
        (relative(path), one.function)
        for path in FILES
        for one in readings(path.read_text(encoding="utf-8"), SENTENCES)
    }
    assert set(ALLOWED) <= met


CAUGHT = [
    'if reason == "set by you": pass',
    'if note.kind == "set by you": pass',
    'BY_PERSON = "set by you"\nif layer == BY_PERSON: pass',
    'AS_IN_QLORA = "as in the run"\nyours = words.endswith(AS_IN_QLORA)',
    "if stage.reason == NO_MERGE: pass",
    "if stage.reason != other: pass",
    'if problem.message.startswith("ModuleNotFoundError"): pass',
    'if "empty" in message: pass',
    'if "not empty" in anything: pass',
    'if "empty" not in str(error): pass',
    'if "empty" in str(error).lower(): pass',
    'if event["message"].endswith("x"): pass',
    'if "CUDA" in (event.get("message") or ""): pass',
    'named = re.match(r"(\\w+)", said)',
    "named = _PATTERN.search(str(error))",
    "code = error.args[0]",
    "code = CODES[message]",
    "code = CODES.get(hint)",
    'key = reason.partition(": ")[0]',
    'key = hint.removeprefix("did you mean ")',
    'READ = (("cannot be read", 1), ("a tab in", 2))\ncode = next(c for s, c in READ if problem.message.startswith(s))',
    'match problem.message:\n    case "no golden set": pass',
    'match kind:\n    case "no golden set": pass',
    "if any(word in why for word in WORDS): pass",
]
LEFT = [
    'if source == "you": pass',
    'if problem.kind == "missing_library": pass',
    'if error.fault in ("tab", "encoding"): pass',
    "if reason: pass",
    'if hint == "" or hint is None: pass',
    'text = f"{reason}: {why}"',
    'first = str(error).partition("\\n")[0]',
    'if position in " \\t\\r\\n": pass',
    "if key in plan.reasons: pass",
    'if args[0] == "help": pass',
    'if name.startswith("lora_"): pass',
]


@pytest.mark.parametrize("source", CAUGHT)
def test_reading_words_is_caught(source: str) -> None:
    assert readings(source)


@pytest.mark.parametrize("source", LEFT)
def test_data_may_be_read(source: str) -> None:
    assert not readings(source)


def test_a_constant_of_another_file_is_known_and_the_function_is_named() -> None:
    source = "class Page:\n    def rows(self):\n        return words == BY_PERSON"
    assert not readings(source)
    assert readings(source, frozenset({"BY_PERSON"})) == [Reading("Page.rows", 3, "words == BY_PERSON")]
