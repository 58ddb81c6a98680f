"""Columns under other names: ``--map``, in every verb that reads a data file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.data.columns import KNOWN, propose, read_columns, renamed
from launcher.data.formats import format_of
from launcher.data.inspect import inspect_data
from launcher.data.write import write_data
from launcher.errors import Unreadable

PAIR = {"question": "prompt", "answer": "completion"}


def check(*args: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)])


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "pairs",
    [
        ["question=prompt,answer=completion"],
        ["question=prompt", "answer=completion"],
        [" question = prompt ,answer=completion"],
    ],
)
def test_columns_are_read(pairs: list[str]) -> None:
    assert read_columns(pairs) == PAIR


def test_a_column_may_have_a_sign_in_its_name() -> None:
    assert read_columns(["a=b=prompt"]) == {"a=b": "prompt"}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("question", "is not COLUMN=NAME"),
        ("=prompt", "is not COLUMN=NAME"),
        ("a=", "is not COLUMN=NAME"),
        ("", "is not COLUMN=NAME"),
        ("a=promt", "did you mean 'prompt'"),
        ("a=prompt,b=prompt", "'prompt' is named twice"),
        ("a=prompt,a=completion", "'a' is named twice"),
    ],
)
def test_what_is_no_map_is_said_and_exits_2(pair: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=said):
        read_columns([pair])
    result = check(write(tmp_path / "rows.jsonl", {"text": "a"}), "--map", pair)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_row_is_renamed_and_what_gives_way_is_told() -> None:
    row = {"question": "a", "prompt": "old", "id": 1}
    assert renamed(row, {"question": "prompt"}) == {"prompt (of the file)": "old", "id": 1, "prompt": "a"}


def test_a_file_of_other_names_is_checked_shown_and_written(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"a{i}", "id": i} for i in range(30)]
    path = write(tmp_path / "rows.jsonl", *rows)
    asked = "--map", "question=prompt,answer=completion"
    shown = check(path, *asked, "--show", 1)
    assert shown.exit_code == 0, shown.output
    assert "prompt_completion, 30 usable rows of 30" in shown.output
    assert "⟦a0<|im_end|>⟧" in shown.output
    assert "note: id is given in 30 of 30 rows (100 %) and not read" in shown.output
    report = inspect_data(path, columns=PAIR)
    done = write_data(report, tmp_path, eval_fraction=0, seed=0)
    assert json.loads(done.train_file.read_text().splitlines()[0])["messages"][0]["content"] == "q0"
    golden = write(tmp_path / "golden.jsonl", {"question": "Q3", "answer": "x"})
    assert "asks what line 1 of the golden set" in check(path, *asked, "--golden", golden).output


def test_a_table_of_other_names(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Frage,Antwort\n" + "".join(f"q{i},a{i}\n" for i in range(5)))
    assert check(path, "--map", "Frage=prompt,Antwort=completion").exit_code == 0


def test_a_column_that_no_row_has(tmp_path: Path) -> None:
    result = check(write(tmp_path / "rows.jsonl", {"a": "x", "b": "y"}), "--map", "c=prompt,b=completion")
    assert result.exit_code == 1
    assert 'its keys: "a", "completion"' in result.output


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "answer": "b"},
        {"query": "a", "response": "b"},
        {"input": "a", "output": "b", "id": 1},
        {"prompt": "a", "response": "b"},
        {"User Input": "a", "Reply": "b"},
        {"conversation": [{"role": "user", "content": "x"}]},
        {"dialog": [{"from": "user", "value": "x"}]},
        {"content": "a long text"},
        {"body": "a long text", "url": "x"},
    ],
)
def test_what_is_proposed_reads_the_row(row: dict[str, Any]) -> None:
    proposed = propose(row)
    assert proposed is not None
    columns = read_columns([proposed.removeprefix("--map ").replace("'", "")])
    assert format_of(renamed(row, columns)) is not None


@pytest.mark.parametrize("row", [{}, {"a": "b"}, {"question": "a"}, {"id": 1, "url": "x"}])
def test_nothing_is_proposed_where_nothing_is_meant(row: dict[str, Any]) -> None:
    assert propose(row) is None


def test_the_names_that_columns_may_have() -> None:
    assert {"messages", "conversations", "instruction", "output", "prompt", "completion", "text"} <= set(KNOWN)


def test_a_job_maps_to_the_names_that_the_command_line_takes() -> None:
    from launcher.data.columns import KNOWN
    from launcher.json_schema import load_schema

    assert load_schema("job")["properties"]["map"]["additionalProperties"]["enum"] == list(KNOWN)
