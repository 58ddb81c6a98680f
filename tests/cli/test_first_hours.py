"""What people bring first: a file of another kind, columns of other names, a golden set that looks like the rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main

LABELS = ("billing", "login")
QUESTIONS = [{"question": f"Which queue for ticket {n}?", "answer": LABELS[n % 2]} for n in range(300)]


def ql(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def lines(rows: list[Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def table(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def renamed(question: str, answer: str) -> list[dict[str, str]]:
    return [{question: row["question"], answer: row["answer"]} for row in QUESTIONS]


@pytest.mark.parametrize(
    "words",
    [("launch", "--preset", "a10g-7b", "--dry-run", "--data"), ("init", "--yes", "--preset", "a10g-7b", "--data"),
     ("export", "--preset", "a10g-7b", "--data"), ("estimate", "--preset", "a10g-7b", "--data"), ("check",)],
)  # fmt: skip
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.csv"])
def test_a_wrong_format_is_one_error_in_every_verb(words: tuple[str, ...], file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(table(QUESTIONS) if file.endswith("csv") else lines(QUESTIONS))
    done = ql(*words, path)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    assert (done.exit_code, len(said)) == (1, 1)
    assert "--map question=prompt,answer=completion" in said[0]
    assert ql(*words, path, "--map", "question=prompt,answer=completion", *_out(words, tmp_path)).exit_code == 0


def _out(words: tuple[str, ...], folder: Path) -> tuple[object, ...]:
    return {"init": ("--out", folder / "job.yaml"), "export": ("-o", folder / "out")}.get(words[0], ())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", table(renamed("prompt", "completion"))),
        ("rows.csv", table(renamed("instruction", "output"))),
        ("rows.json", json.dumps({"train": renamed("prompt", "completion")})),
        ("rows.json", json.dumps(renamed("instruction", "response"))),
    ],
)
def test_what_people_have_is_read(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    done = ql("check", path)
    assert (done.exit_code, "300 usable rows of 300" in done.stdout) == (0, True), done.output


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "ql trains on right answers alone (SFT), not on preferences"),
        ({"input": "a", "output": "b"}, "--map input=prompt,output=completion"),
    ],
)
def test_what_is_not_read_is_named_with_the_way_out(row: dict[str, str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines([{**row, "id": str(n)} for n in range(30)]))
    done = ql("launch", "--preset", "a10g-7b", "--data", path, "--dry-run")
    assert (done.exit_code, done.stderr.count("error: "), said in done.stderr) == (1, 1, True), done.stderr


def test_a_name_of_the_hub_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pytest.importorskip("datasets")
    done = ql("launch", "--preset", "a10g-7b", "--data", "tatsu-lab/alpaca", "--dry-run")
    assert done.exit_code == 3
    assert "the data set tatsu-lab/alpaca cannot be fetched, since the hub is out of reach" in done.stderr


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "login"}]},
        {"conversations": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": "login"}]},
        {"instruction": "Which?", "output": "login"},
        {"prompt": "Which?", "completion": "login"},
        {"input": "Which?", "target": "login"},
    ],
)
def test_the_golden_set_may_look_like_the_rows(row: dict[str, Any], tmp_path: Path) -> None:
    data, golden = tmp_path / "rows.jsonl", tmp_path / "golden.jsonl"
    data.write_text(lines(renamed("prompt", "completion")))
    golden.write_text(lines([row]))
    done = ql("check", data, "--golden", golden)
    assert done.exit_code == 0, done.output
    assert ql("launch", "--preset", "cpu-tiny", "--data", data, "--golden", golden, "--dry-run").exit_code == 0


def test_a_golden_set_is_cut_out_of_the_rows(tmp_path: Path) -> None:
    data = tmp_path / "my.jsonl"
    data.write_text(lines(renamed("prompt", "completion")))
    assert ql("split", data, "--golden", 100).exit_code == 0
    golden, train = tmp_path / "my.golden.jsonl", tmp_path / "my.train.jsonl"
    assert len(golden.read_text().splitlines()) == 100
    assert ql("check", train, "--golden", golden).exit_code == 0
