"""A fault that all rows have is one error, named as what it is; of others no more than 20 of a kind are printed."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.data.findings import Findings
from launcher.data.inspect import inspect_data
from launcher.data.json_text import fault_of

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
CHAT = {"messages": TURNS, "ok": True, "none": None}


def ql(*argv: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in argv])


def each(row: Any, count: int = 50) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for _ in range(count))


FAULTS: dict[str, tuple[str, str]] = {
    "pretty-printed": (each(json.dumps(CHAT, indent=2)), "spread over several lines (pretty-printed)"),
    "pretty-printed with tabs": (each(json.dumps(CHAT, indent="\t")), "jq -c . FILE"),
    "pretty-printed, empty lines between": (each(json.dumps(CHAT, indent=4) + "\n"), "spread over several lines"),
    "pretty-printed with commas between": (each(json.dumps(CHAT, indent=4) + ","), "spread over several lines"),
    "one pretty-printed row": (each(json.dumps(CHAT, indent=2), 1), "spread over several lines"),
    "Python literals": (each(repr(CHAT)), "a Python literal, not JSON (single quotes, None, True)"),
    "Python literal over several lines": ("{\n 'messages': [\n  {'role': 'user'}],\n}", "Python literals over several"),
    "a Python list": (repr([CHAT, CHAT]), "a Python literal, not JSON"),
    "commas between the rows": (each(json.dumps(CHAT) + ","), "a comma stands behind the row"),
    "a comma before the brace": (each('{"prompt": "a, }", "completion": "b",}'), "a trailing comma"),
    "a comma before the bracket": (each('{"messages": [{"role": "user", "content": ","},]}'), "a trailing comma"),
    "several on a line": (each(json.dumps(CHAT) + json.dumps(CHAT)), "several objects stand on this line"),
    "lists of turns": (each(TURNS), "a bare list of turns"),
    "dumped twice": (each(json.dumps(json.dumps(CHAT))), "it was dumped twice"),
    "text for messages": (each({"messages": "User: hi\nBot: ho"}), "messages must be a list, not text"),
    "Python for messages": (each({"messages": repr(TURNS)}), "messages is a Python literal"),
    "text for conversations": (each({"conversations": "hi"}), "conversations must be a list, not text"),
    "an object for messages": (each({"messages": TURNS[0]}), "messages must be a list, not an object"),
    "preferences": (each({"prompt": "a", "chosen": "b", "rejected": "c"}), "--map chosen=completion"),
    "preferred turns": (each({"chosen": TURNS, "rejected": TURNS}), "--map chosen=messages"),
    "preferences after a conversation": (
        each({"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": TURNS[1]}), "a preference row"),
    "questions": (each({"question": "a", "answer": "b"}), "--map question=prompt,answer=completion"),
    "questions with a context": (
        each({"question": "a", "context": "p", "answer": "b"}), "--map question=instruction,answer=output"),
    "input and output": (each({"input": "a", "output": "b"}), "--map input=prompt,output=completion"),
    "prompt and response": (each({"prompt": "a", "response": "b"}), "--map response=completion"),
    "Capitals": (each({"Question": "a", "Answer text": "b", "Answer": "c"}), "--map Question=prompt,Answer=completion"),
    "a dialogue": (each({"dialogue": TURNS}), "--map dialogue=messages"),
    "content": (each({"content": "a long text", "url": "x"}), "--map content=text"),
    "columns": (json.dumps({"prompt": ["a", "b"], "completion": ["c", "d"]}), "one object of columns, not rows"),
    "numbered columns": (json.dumps({"prompt": {"0": "a"}, "completion": {"0": "b"}}), "orient='records', lines=True"),
    "numbered rows": (json.dumps({"0": {"prompt": "a"}, "1": {"prompt": "b"}}, indent=1), "rows by their number"),
    "nothing that is known": (each({"a": 1, "b": 2}), "--map COLUMN=prompt,COLUMN=completion"),
    "numbers": ("".join(each({"prompt": "a", "completion": i}, 1) for i in range(50)), "write it in quotes, \"0\""),
    "no answer": (each({"messages": TURNS[:1]}), "has no assistant turn"),
    "all masked": (each({"messages": [TURNS[0], {**TURNS[1], "weight": 0}]}), "masks every assistant turn"),
    "broken, each at another place": ("".join(f'{{"a{"b" * i}": \n' for i in range(50)), "not JSON: Expecting value"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_in_all_rows_is_one_error(name: str, tmp_path: Path) -> None:
    text, said = FAULTS[name]
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    result = ql("check", path)
    assert result.exit_code == 1, result.output
    assert result.output.count("error: ") == 1, result.output
    assert said in result.output
    assert "1 error, " in result.output
    launched = ql("launch", "--dry-run", "--preset", "cpu-tiny", "--data", path)
    assert (launched.exit_code, launched.stderr.count("error: ")) == (1, 1), launched.stderr
    assert said in launched.stderr


@pytest.mark.parametrize("verb", ["check", "launch", "export"])
def test_no_verb_prints_more_than_20_of_a_kind(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        each({"prompt": "a", "completion": "b"}, 1) + each("x", 300) + each({"prompt": 1, "completion": "b"}, 70)
    )
    more = {"check": [path], "launch": ["--dry-run", "--preset", "cpu-tiny", "--data", path],
            "export": ["--preset", "cpu-tiny", "--data", path, "-o", tmp_path / "out"]}[verb]  # fmt: skip
    result = ql(verb, *more)
    assert result.exit_code == 1
    assert sum("not JSON" in line for line in result.output.splitlines()) == 20
    assert sum("must be text" in line for line in result.output.splitlines()) == 20
    assert "2-301" in result.output, "the lines of all others are named"


def test_all_are_printed_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(each({"text": "a"}, 1) + each("x", 300))
    assert ql("check", path, "--all").output.count("error: ") == 300
    assert len(json.loads(ql("check", path, "--json").output)["findings"]) == 20
    assert len(json.loads(ql("check", path, "--json", "--all").output)["findings"]) == 300


def test_a_shared_fault_beside_others_is_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "" if i % 2 else "a", "completion": i}) + "\n" for i in range(8)))
    report = inspect_data(path)
    told = [finding.message for finding in report.findings.told("error", report.lines_read)]
    assert told[0].startswith("in each of its 8 rows, as here: completion must be text")
    assert told[1:] == ["prompt is empty"] * 4
    assert report.findings.number("error", report.lines_read) == 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{'a': 1}", "python"),
        ('{"a": None}', "python"),
        ("['a', True]", "python"),
        ('{"a": 1},', "comma"),
        ('{"a": [1,]}', "comma"),
        ('{"a": "x,}", "b": [1, ] , }', "comma"),
        ('{"a": 1} {"b": 2}', "together"),
        ("{", None),
        ("None", None),
        ('{"a": "it\'s"', None),
        ("{" * 5000, None),
        ("x" * 100, None),
    ],
)
def test_what_a_text_is_that_is_no_json(text: str, kind: str | None) -> None:
    found = fault_of(text)
    assert (found.kind if found else None) == kind


def test_50_000_wrong_rows_are_one_error_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"q{i}", "answer": i}) + "\n" for i in range(50_000)))
    tracemalloc.start()
    try:
        report = inspect_data(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(report.problems()) == 1
    assert peak < 16 * 2**20
    result = ql("check", path)
    assert "1 error, " in result.output
    assert len(result.output) < 1000


def test_a_fault_that_one_row_has_often_is_not_one_of_all(tmp_path: Path) -> None:
    calls = {"role": "assistant", "content": "", "tool_calls": [{}, {}, {}]}
    path = tmp_path / "rows.jsonl"
    path.write_text(each({"messages": TURNS}, 2) + each({"messages": [TURNS[0], calls]}, 1))
    assert ql("check", path).output.count("has no function name") == 3
    path.write_text(each({"messages": [TURNS[0], calls]}, 5))
    assert ql("check", path).output.count("error: ") == 1


def test_a_wrong_answer_among_right_ones_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(each({"prompt": f"a{i}", "completion": "b", "label": i > 1}, 1) for i in range(4)))
    assert [finding.line for finding in inspect_data(path).findings.kept if finding.kind == "preference"] == [1, 2]


def test_a_finding_of_one_row_is_not_that_of_all() -> None:
    findings = Findings()
    findings.add("empty", "error", 1, "text is empty")
    assert findings.told("error", 1)[0].message == "text is empty"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"dataset": {"train": {"rows": [{"prompt": "a", "completion": "b"}]}}}, ".dataset.train.rows"),
        ({"data": {"train": [{"prompt": "a"}], "test": [{"prompt": "a"}]}}, ".data.train"),
        ({"version": 1, "my data": {"rows": [{"a": 1}]}}, '."my data".rows'),
    ],
)
def test_rows_inside_of_an_object_are_found(data: Any, path: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(data))
    [finding] = inspect_data(file).findings.kept
    assert finding.message == f"one object, whose rows are inside of it: jq -c '{path}[]' FILE > FILE.jsonl"


@pytest.mark.parametrize("text", ["nan", "NaN", " nan ", "<NA>"])
def test_an_empty_cell_that_became_a_word_is_warned_of(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt,completion\na,b\nc,{text}\n{text},d\nnanny,None\n")
    found = [(finding.kind, finding.severity, finding.line) for finding in inspect_data(path).findings.kept]
    assert found == [("nan", "warning", 3), ("nan", "warning", 4)]


@pytest.mark.parametrize("head", ["hello there,general kenobi", "What is 1+1?,2", "17,positive"])
def test_a_table_without_a_header_is_named(head: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{head}\n" + "more,of it\n" * 5)
    [said] = [line for line in ql("check", path).stdout.splitlines() if line.startswith("error")]
    assert "in each of its 5 rows" in said
    assert "if its first line is a row, write the names of the columns above it: prompt,completion" in said


@pytest.mark.parametrize("text", ['a,"b', '"a" b,c', '"unclosed,"c"'])
def test_a_quote_that_does_not_close_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt,completion\nx,y\n{text}\n")
    [finding] = inspect_data(path).findings.kept
    assert finding.message.startswith("not a row of a table: a quote is not closed, or one inside of a cell")


def test_one_row_is_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": " b"}) + "\n")
    said = ql("check", path).stdout
    assert "1 usable row of 1, 0 errors" in said
    assert "removes, in 1 of 1 rows" in said
