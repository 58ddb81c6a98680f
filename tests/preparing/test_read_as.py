"""``--map`` and ``--thoughts``: a person's own rows reach plan, files, job, manifest and resume in the same way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.data.read_as import ReadAs
from launcher.preparing.asked import Asked
from launcher.preparing.job_file import read_job
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request

MAP = "question=prompt,answer=completion"
COLUMNS = {"question": "prompt", "answer": "completion"}
DROP = ReadAs({}, "drop")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\n" + "".join(f"what is {n}?,it is {n}\n" for n in range(40)))
    return path


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    path = tmp_path / "golden.csv"
    path.write_text("question,answer\n" + "".join(f"what was {n}?,it was {n}\n" for n in range(5)))
    return path


def ql(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in (folder / "data").glob("*.jsonl") for line in path.read_text().splitlines()]


@pytest.mark.parametrize("words", [("launch", "--dry-run"), ("export",), ("estimate",), ("init", "--yes")])
def test_other_names_are_proposed_by_the_error_and_taken(words: tuple[str, ...], rows: Path, tmp_path: Path) -> None:
    card = ("--gpu", "cpu") if words[0] == "init" else ("--preset", "cpu-tiny")
    more = ("-o", tmp_path / "out") if words[0] in ("export", "init") else ()
    refused = ql(*words, *card, "--data", rows, *more)
    assert refused.exit_code == 1
    assert f"--map {MAP}" in refused.stderr
    done = ql(*words, *card, "--data", rows, "--map", MAP, *more)
    assert done.exit_code == 0, done.stderr


def test_an_export_has_the_rows(rows: Path, tmp_path: Path) -> None:
    assert ql("export", "--preset", "cpu-tiny", "--data", rows, "--map", MAP, "-o", tmp_path / "x").exit_code == 0
    found = written(tmp_path / "x")
    assert len(found) == 40
    assert {
        "messages": [{"role": "user", "content": "what is 7?"}, {"role": "assistant", "content": "it is 7"}]
    } in found


def test_a_golden_set_has_the_same_columns(rows: Path, golden: Path) -> None:
    words = ("launch", "--preset", "cpu-tiny", "--data", rows, "--golden", golden, "--map", MAP, "--dry-run", "--json")
    assert ql(*words).exit_code == 0
    prepared = prepare(make_request(preset="cpu-tiny"), rows, golden=golden, read_as=ReadAs(COLUMNS))
    assert [row.targets for row in prepared.golden][:2] == [("it was 0",), ("it was 1",)]


def test_a_job_file_says_it_and_a_flag_wins(rows: Path, golden: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    words = ("--map", MAP, "--thoughts", "drop", "--gpu", "cpu", "--yes", "-o", job)
    assert ql("init", "--data", rows, "--golden", golden, *words).exit_code == 0
    read = read_job(job)
    assert (read.map, read.thoughts) == (COLUMNS, "drop")
    assert ql("launch", job, "--dry-run").exit_code == 0
    assert ql("launch", job, "--dry-run", "--map", "question=instruction,answer=output").exit_code == 0
    job.write_text(job.read_text().replace("answer: completion", "answer: nowhere"))
    refused = ql("launch", job, "--dry-run")
    assert refused.exit_code == 2
    assert "nowhere" in refused.stderr


def test_the_manifest_keeps_it_for_a_resume(rows: Path) -> None:
    asked = Asked(data=str(rows), preset="cpu-tiny", read_as=ReadAs(COLUMNS, "each"))
    assert Asked.of(asked.record()).read_as == asked.read_as


@pytest.mark.parametrize("thoughts", ["train", "drop"])
def test_thoughts_are_trained_or_left_out(thoughts: str, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning": "c"}]}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**row, "id": n}) + "\n" for n in range(8)))
    words = ("export", "--preset", "cpu-tiny", "--data", path, "--thoughts", thoughts, "-o", tmp_path / "x")
    assert ql(*words).exit_code == 0
    found = json.dumps(written(tmp_path / "x"))
    assert ("<think>" in found) == (thoughts == "train")


@pytest.mark.parametrize("words", [("--map", MAP), ("--thoughts", "drop")])
def test_without_rows_to_read_it_is_refused(words: tuple[str, ...], rows: Path, tmp_path: Path) -> None:
    assert ql("export", "--preset", "cpu-tiny", "--data", rows, "--map", MAP, "-o", tmp_path / "x").exit_code == 0
    refused = ql("launch", "--config", tmp_path / "x" / "config.yaml", "--preset", "cpu-tiny", "--dry-run", *words)
    assert refused.exit_code == 2
    assert "trained as they are" in refused.stderr
    assert ql("estimate", "--preset", "cpu-tiny", *words).exit_code == 2


def test_a_column_that_no_row_has_is_an_error(rows: Path) -> None:
    refused = ql("check", rows, "--map", f"{MAP},contxt=context")
    assert refused.exit_code == 1
    assert "--map contxt=context: no row has a column 'contxt'" in refused.stdout
