from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.data import prepare as prepare_module
from launcher.data.formats import row_line
from launcher.data.inspect import inspect_data
from launcher.data.prepare import PreparedData, prepare_data
from launcher.errors import BadInput, RunFailed
from launcher.files import sha256_file


def alpaca(number: int) -> dict[str, str]:
    return {"instruction": f"question {number}", "output": f"answer {number}"}


def write(folder: Path, rows: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepare(path: Path, out: Path, **settings: Any) -> PreparedData:
    return prepare_data(path, out, **{"eval_fraction": 0.1, "seed": 1, "sequence_len": 512, **settings})


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
    assert json.loads(json.dumps(done.to_dict()))["input_sha256"] == sha256_file(path)


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
    assert "1 of them would keep no trained token" in done.to_dict()["excess"]


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

    monkeypatch.setattr(prepare_module, "row_line", fail_on_nine)
    with pytest.raises(RunFailed, match="No space left"):
        prepare(path, tmp_path / "run")
    assert list((tmp_path / "run" / "data").iterdir()) == []


def test_file_that_changes_under_us_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, [alpaca(number) for number in range(10)])
    inspect = prepare_module.inspect_data

    def inspect_then_change(*args: Any, **kwargs: Any) -> Any:
        report = inspect(*args, **kwargs)
        write(tmp_path, [alpaca(1)])
        return report

    monkeypatch.setattr(prepare_module, "inspect_data", inspect_then_change)
    with pytest.raises(RunFailed, match="changed while it was read"):
        prepare(path, tmp_path / "run")


def test_inspection_made_before_is_used(tmp_path: Path, bases: dict[str, Path]) -> None:
    path = write(tmp_path, [alpaca(1), {"instruction": "word " * 200, "output": "x"}, alpaca(2)])
    report = inspect_data(path, base=bases["bytes"]).limited(64, "drop")
    settings = {"sequence_len": 64, "excess_length": "drop", "eval_fraction": 0, "base": bases["bytes"]}
    again, reused = prepare(path, tmp_path / "a", **settings), prepare(path, tmp_path / "b", report=report, **settings)
    assert again.sha256 == reused.sha256
    assert reused.left_out == 1
    path.write_text(path.read_text().replace("question 1", "question 3"))
    with pytest.raises(RunFailed, match="changed"):
        prepare(path, tmp_path / "c", report=report, **settings)
