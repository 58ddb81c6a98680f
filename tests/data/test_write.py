from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.data import write as writing
from launcher.data.formats import row_line
from launcher.data.inspect import inspect_data
from launcher.data.write import WrittenData, write_data
from launcher.errors import BadInput, RunFailed
from launcher.files import sha256_file
from launcher.records.codec import encode

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def alpaca(number: int) -> dict[str, str]:
    return {"instruction": f"question {number}", "output": f"answer {number}"}


def write(folder: Path, rows: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepare(path: Path, out: Path, *, eval_fraction: float = 0.1, seed: int = 1, **settings: Any) -> WrittenData:
    report = inspect_data(path, **{"sequence_len": 512, **settings})
    return write_data(report, out, eval_fraction=eval_fraction, seed=seed)


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_are_split_and_written_as_messages(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(50)])
    done = prepare(path, tmp_path / "run")
    assert (done.train_rows, done.eval_rows, done.left_out) == (45, 5, 0)
    assert done.eval_file is not None
    train, held_out = read(done.train_file), read(done.eval_file)
    assert [row["messages"][0]["content"] for row in train] == sorted(
        (row["messages"][0]["content"] for row in train), key=lambda text: int(text.split()[1])
    ), "the order of the file"
    assert len({json.dumps(row) for row in train + held_out}) == 50
    assert done.sha256 == {
        "data/train.jsonl": sha256_file(done.train_file),
        "data/eval.jsonl": sha256_file(done.eval_file),
    }
    assert (done.facts.rows, done.facts.eval_rows) == (50, 5)
    assert sorted(item.name for item in (tmp_path / "run" / "data").iterdir()) == ["eval.jsonl", "train.jsonl"]
    assert encode(done.record(path))["input_sha256"] == sha256_file(path)


def test_same_seed_same_files(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(50)])
    first, second, other = (
        prepare(path, tmp_path / str(index), seed=seed).sha256 for index, seed in enumerate((1, 1, 2))
    )
    assert first == second != other


def test_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    done = prepare(write(tmp_path, [alpaca(number % 5) for number in range(50)]), tmp_path / "run", eval_fraction=0.4)
    assert done.eval_file is not None
    train = {json.dumps(row) for row in read(done.train_file)}
    held_out = {json.dumps(row) for row in read(done.eval_file)}
    assert held_out
    assert not train & held_out


def test_no_evaluation_rows_no_file(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(10)])
    prepare(path, tmp_path / "run")
    done = prepare(path, tmp_path / "run", eval_fraction=0)
    assert done.eval_file is None
    assert not (tmp_path / "run" / "data" / "eval.jsonl").exists(), "the file of an earlier run is gone"
    assert done.train_rows == 10


def test_rows_with_rare_keys_come_first(tmp_path: Path) -> None:
    """datasets takes a file's columns from its first 10 MB and fails on keys that turn up later."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows: list[Any] = [
        {"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "x"}]} for n in range(20)
    ]
    rows.append(
        {"messages": [{"role": "user", "content": "call"}, {"role": "assistant", "content": "", "tool_calls": [call]}]}
    )
    rows.append({"messages": rows[0]["messages"], "tools": [{"name": "f"}]})
    rows.append({"messages": rows[1]["messages"], "tools": [{"name": "g"}]})
    done = prepare(write(tmp_path, rows), tmp_path / "run", eval_fraction=0)
    train = read(done.train_file)
    assert len(train) == 23
    assert "tool_calls" in train[0]["messages"][1]
    assert train[1]["tools"] == '[{"type": "function", "function": {"name": "f"}}]'
    assert train[2]["messages"][0]["content"] == "0"
    assert train[-1]["tools"] == '[{"type": "function", "function": {"name": "g"}}]'


def test_rows_without_a_trained_token_are_left_out(tmp_path: Path, bases: dict[str, Path]) -> None:
    long_question = {"instruction": "word " * 200, "output": "x"}
    path = write(tmp_path, [alpaca(1), long_question, alpaca(2)])
    done = prepare(path, tmp_path / "run", sequence_len=64, base=bases["bytes"], eval_fraction=0)
    assert (done.train_rows, done.left_out) == (2, 1)
    assert "1 of them would keep no trained token" in (done.record(path).excess or "")


def test_text_rows_stay_text(tmp_path: Path) -> None:
    done = prepare(write(tmp_path, [{"text": "ü", "id": 1}]), tmp_path / "run", eval_fraction=0)
    assert done.train_file.read_text(encoding="utf-8") == '{"text": "ü"}\n'


def test_bad_rows_are_all_said_and_nothing_is_written(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(1), {"instruction": "x"}, 3])
    with pytest.raises(BadInput) as caught:
        prepare(path, tmp_path / "run")
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert not (tmp_path / "run").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(1), alpaca(2)])
    (tmp_path / "file").touch()
    with pytest.raises(RunFailed, match="cannot be written"):
        prepare(path, tmp_path / "file")


def test_failure_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(10)])

    def fail_on_nine(row: dict[str, Any]) -> str:
        if "9" in row["messages"][0]["content"]:
            raise OSError(28, "No space left on device")
        return row_line(row)

    monkeypatch.setattr(writing, "row_line", fail_on_nine)
    with pytest.raises(RunFailed, match="No space left"):
        prepare(path, tmp_path / "run")
    assert list((tmp_path / "run" / "data").iterdir()) == []


def test_file_that_changes_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(10)])
    report = inspect_data(path)
    write(tmp_path, [alpaca(1)])
    with pytest.raises(RunFailed, match="changed while it was read"):
        write_data(report, tmp_path / "run", eval_fraction=0.1, seed=1)


def test_rows_that_are_left_out_are_counted(tmp_path: Path, bases: dict[str, Path]) -> None:
    path = write(tmp_path, [alpaca(1), {"instruction": "word " * 200, "output": "x"}, alpaca(2)])
    report = inspect_data(path, base=bases["bytes"]).limited(64, "drop")
    done = write_data(report, tmp_path / "run", eval_fraction=0, seed=1)
    assert (done.train_rows, done.left_out) == (2, 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 2**16))
def test_leaders_come_first_and_all_else_keeps_its_order(kinds: list[int], seed: int) -> None:
    """Whichever rows carry the keys that others lack, and wherever they stand."""
    more: list[dict[str, Any]] = [{}, {"tools": [TOOL]}, {"chat_template_kwargs": {"a": 1}}, {"tools": [TOOL], "x": 1}]
    rows = [{"messages": TURNS, "id": number, **more[kind]} for number, kind in enumerate(kinds)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = write(folder, [{**row, "messages": [{**TURNS[0], "content": str(row["id"])}, TURNS[1]]} for row in rows])
        done = write_data(inspect_data(path), folder / "run", eval_fraction=0.3, seed=seed)
        for file in (done.train_file, done.eval_file):
            if file is None or not file.is_file():
                continue
            written = read(file)
            numbers = [int(row["messages"][0]["content"]) for row in written]
            seen: set[str] = set()
            leaders = []
            for number in sorted(numbers):
                keys = {key for key in written[numbers.index(number)] if key != "messages"}
                if keys - seen or (not leaders and number == min(numbers) and keys):
                    leaders.append(number)
                seen |= keys
            first = set(leaders)
            assert numbers == leaders + [number for number in sorted(numbers) if number not in first]
