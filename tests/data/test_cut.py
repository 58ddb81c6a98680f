"""A golden set cut out of a data file: the asked number, the shares of the labels, and no leak, whatever the rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.cli.main import main
from launcher.data.cut import ANSWER, plan_cut, write_cut
from launcher.data.inspect import inspect_data
from launcher.errors import BadInput
from launcher.golden.rows import read_golden


def split(*args: object) -> Result:
    return CliRunner().invoke(main, ["split", *map(str, args)])


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


LABELLED = [{"prompt": f"ticket {i}", "completion": "abc"[min(i % 10 // 4, 2)]} for i in range(100)]


def test_the_files_are_written_and_the_next_command_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "my.jsonl", LABELLED)
    result = split(path, "--golden", 10)
    assert result.exit_code == 0, result.output
    golden, train = tmp_path / "my.golden.jsonl", tmp_path / "my.train.jsonl"
    assert (len(read(golden)), len(read(train))) == (10, 90)
    assert sorted(map(str, [*read(golden), *read(train)])) == sorted(map(str, LABELLED))
    assert len(read_golden(golden)) == 10
    command = result.output.splitlines()[-1].removeprefix("next: ql ").split()
    assert CliRunner().invoke(main, command).exit_code == 0


def test_the_shares_of_the_labels_are_kept(tmp_path: Path) -> None:
    cut = plan_cut(write(tmp_path / "my.jsonl", LABELLED), 10)
    assert (cut.label, dict(cut.shares)) == (ANSWER, {"a": 4, "b": 4, "c": 2})
    named = [{**row, "label": "xy"[i % 4 == 0], "completion": f"answer {i}"} for i, row in enumerate(LABELLED)]
    cut = plan_cut(write(tmp_path / "my.jsonl", named), 8)
    assert (cut.label, dict(cut.shares)) == ("label", {"x": 6, "y": 2})
    cut = plan_cut(tmp_path / "my.jsonl", 8, label="completion")
    assert cut.label == "completion"


def test_a_label_of_few_rows_has_one_where_there_is_room(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "completion": "rare" if i < 3 else "often"} for i in range(100)]
    assert dict(plan_cut(write(tmp_path / "my.jsonl", rows), 5).shares) == {"often": 4, "rare": 1}


def test_answers_that_all_differ_are_no_label(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(20)]
    assert plan_cut(write(tmp_path / "my.jsonl", rows), 5).label is None


def test_the_same_seed_chooses_the_same_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "my.jsonl", LABELLED)
    assert plan_cut(path, 10).golden == plan_cut(path, 10).golden != plan_cut(path, 10, seed=1).golden


def test_rows_that_ask_the_same_are_never_parted(tmp_path: Path) -> None:
    spellings = ["What is {}?", "what is {}", "  WHAT  is {} ?!", "What is {}?"]
    rows = [{"prompt": text.format(i), "completion": "x"} for i in range(10) for text in spellings]
    path = write(tmp_path / "my.jsonl", rows)
    cut = plan_cut(path, 4)
    golden, train = tmp_path / "g.jsonl", tmp_path / "t.jsonl"
    write_cut(path, cut, golden, train)
    assert (len(read(golden)), len(read(train)), len(cut.left_out)) == (4, 24, 12)
    assert inspect_data(train, golden=golden).ok


def test_rows_that_ask_once_are_taken_before_those_that_are_asked_often(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i // 2 if i < 20 else i}", "completion": "x"} for i in range(40)]
    assert not plan_cut(write(tmp_path / "my.jsonl", rows), 20).left_out


FORMATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "q{}"}, {"role": "assistant", "content": "a"}]},
    {"conversations": [{"from": "human", "value": "q{}"}, {"from": "gpt", "value": "a"}], "system": "S"},
    {"instruction": "q{}", "input": "", "output": "a"},
    {"instruction": "", "context": "q{}", "response": "a"},
    {"prompt": "q{}", "completion": "a"},
]


@pytest.mark.parametrize("row", FORMATS)
def test_every_format_is_cut_and_read_back(row: dict[str, Any], tmp_path: Path) -> None:
    rows = [json.loads(json.dumps(row).replace("q{}", f"q{i}")) for i in range(12)]
    assert split(write(tmp_path / "my.jsonl", rows), "--golden", 3).exit_code == 0
    assert [item.targets for item in read_golden(tmp_path / "my.golden.jsonl")] == [("a",)] * 3
    assert inspect_data(tmp_path / "my.train.jsonl", golden=tmp_path / "my.golden.jsonl").row_count == 9


def test_a_table_and_other_names(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("question,answer\n" + "".join(f"q{i},a{i}\n" for i in range(10)))
    result = split(path, "--golden", 2, "--map", "question=prompt,answer=completion", "--json")
    facts = json.loads(result.output)
    assert (facts["golden_rows"], facts["train_rows"], facts["label"]) == (2, 8, None)
    assert read(Path(facts["golden"]))[0].keys() == {"prompt", "completion"}


def test_what_cannot_be_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "my.jsonl", LABELLED)
    with pytest.raises(BadInput, match="100 different questions"):
        plan_cut(path, 100)
    with pytest.raises(BadInput, match="no column 'labl'"):
        plan_cut(path, 5, label="labl")
    with pytest.raises(BadInput, match="plain text"):
        plan_cut(write(tmp_path / "text.jsonl", [{"text": f"{i}"} for i in range(9)]), 2)
    bad = split(write(tmp_path / "bad.jsonl", [{"q": 1}] * 30), "--golden", 2)
    assert (bad.exit_code, bad.stderr.count("error: ")) == (1, 1)
    assert not list(tmp_path.glob("bad.*.jsonl"))
    assert split(tmp_path / "none.jsonl", "--golden", 2).exit_code == 2
    assert split(path, "--golden", 5).exit_code == 0
    again = split(path, "--golden", 5)
    assert (again.exit_code, again.stderr.count("is there already")) == (2, 2)
    assert split(path, "--golden", 5, "--force").exit_code == 0


words = st.sampled_from(["a", "A", "a!", "b", " b", "c d", "C  d", "e", "f", "?"])
turns = st.lists(st.tuples(words, st.sampled_from(["x", "y"])), min_size=1, max_size=3)


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), rows=st.lists(turns, min_size=3, max_size=25))
def test_no_cut_leaks(data: st.DataObject, rows: list[list[tuple[str, str]]], tmp_path: Path) -> None:
    chats = []
    for row in rows:
        told = [
            {"role": role, "content": text}
            for turn in row
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        chats.append({"messages": told})
    path = write(tmp_path / "my.jsonl", chats)
    count = data.draw(st.integers(1, 4))
    try:
        cut = plan_cut(path, count)
    except BadInput:
        return
    golden, train = tmp_path / "g.jsonl", tmp_path / "t.jsonl"
    write_cut(path, cut, golden, train)
    assert len(read(golden)) == count
    assert read(train)
    assert len(read(golden)) + len(read(train)) + len(cut.left_out) == len(chats)
    assert not Counter(map(str, read(golden))) - Counter(map(str, chats))
    assert inspect_data(train, golden=golden).ok


@pytest.mark.parametrize("under", [None, "train"])
def test_rows_that_share_a_line_are_told_apart(under: str | None, tmp_path: Path) -> None:
    """A JSON array on one line: its rows were all put in the golden set."""
    path = tmp_path / "my.json"
    path.write_text(json.dumps({under: LABELLED} if under else LABELLED))
    assert split(path, "--golden", 10).exit_code == 0
    golden, train = read(tmp_path / "my.golden.jsonl"), read(tmp_path / "my.train.jsonl")
    assert (len(golden), len(train)) == (10, 90)
    assert sorted(map(str, [*golden, *train])) == sorted(map(str, LABELLED))


def test_a_golden_set_on_one_line_has_ids_and_places(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text(json.dumps([{"input": f"q {n}", "target": "t"} for n in range(3)]))
    assert [row.id for row in read_golden(path)] == ["line-1", "row-2", "row-3"]
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": 1}]
    path.write_text(json.dumps(rows))
    report = inspect_data(path)
    said = [str(problem) for severity in ("error", "warning") for problem in report.problems(severity)]  # type: ignore[arg-type]
    assert len(said) == 2
    assert said[0].startswith(f"{path}:1: row 3 of the file: ")
    assert said[1].endswith("row 2 of the file: the same row as one before it on this line")


def test_the_options_of_the_verb(tmp_path: Path) -> None:
    rows = [{**row, "queue": "xyz"[i % 3]} for i, row in enumerate(LABELLED)]
    path = write(tmp_path / "my.jsonl", rows)
    out = tmp_path / "cut"
    done = split(path, "--golden", 12, "--label", "queue", "--seed", 5, "--out", out, "--json")
    facts = json.loads(done.stdout)
    assert facts["shares"] == {"x": 4, "y": 4, "z": 4}
    assert (facts["label"], facts["train_rows"]) == ("queue", 88)
    golden = read(out / "my.golden.jsonl")
    assert Counter(row["queue"] for row in golden) == facts["shares"]
    assert not (tmp_path / "my.golden.jsonl").exists(), "--out is another folder"
    assert split(path, "--golden", 12, "--label", "queue", "--seed", 5, "--out", out).exit_code == 2, "they are there"
    again = split(path, "--golden", 12, "--label", "queue", "--seed", 5, "--out", out, "--force")
    assert (again.exit_code, read(out / "my.golden.jsonl")) == (0, golden)
    split(path, "--golden", 12, "--label", "queue", "--seed", 6, "--out", out, "--force")
    assert read(out / "my.golden.jsonl") != golden, "another seed chooses other rows"
    wrong = split(path, "--golden", 12, "--label", "qeue", "--out", out, "--force")
    assert (wrong.exit_code, "did you mean 'queue'" in wrong.stderr) == (1, True)
