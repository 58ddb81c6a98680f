"""Bad input: one clear error, the right exit code, no traceback, nothing written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def row(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]})


def launch(*more: str, data: str | Path, preset: str = "cpu-tiny") -> Result:
    return ql("launch", "--dry-run", "--preset", preset, "--data", str(data), *more)


def is_clear(result: Result, code: int, *said: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr


def test_no_such_preset(home: Path, tickets: Path) -> None:
    is_clear(launch(data=tickets, preset="a10g-7"), 2, "a10g-7", "did you mean 'a10g-7b'?")


def test_missing_data_file(home: Path) -> None:
    is_clear(launch(data="nowhere.jsonl"), 2, "nowhere.jsonl")


def test_empty_data_file(home: Path) -> None:
    (home / "data.jsonl").write_text("")
    is_clear(launch(data="data.jsonl"), 1, "data.jsonl", "no rows")


def test_every_bad_line_in_the_middle_is_named(home: Path) -> None:
    lines = [row(f"question {number}") for number in range(9)]
    lines[3] = "{not json"
    lines[6] = json.dumps({"messages": [{"role": "user", "content": "alone"}]})
    (home / "data.jsonl").write_text("\n".join(lines))
    is_clear(launch(data="data.jsonl"), 1, "data.jsonl:4", "data.jsonl:7")


def test_unknown_setting(home: Path, tickets: Path) -> None:
    is_clear(launch("--set", "learning_rat=1", data=tickets), 2, "did you mean 'learning_rate'?")


def test_wrong_type(home: Path, tickets: Path) -> None:
    is_clear(
        launch("--set", "lora_r=sixteen", data=tickets),
        2,
        "lora_r is 'sixteen'",
        "Rank of the adapter: expected a whole number",
    )


def test_a_base_model_folder_without_a_config(home: Path, tickets: Path) -> None:
    (home / "model").mkdir()
    is_clear(launch("--model", "./model", data=tickets), 2, "no config.json")


def test_a_gate_without_a_golden_set(home: Path, tickets: Path) -> None:
    is_clear(launch("--gate", "exact_match>=0.8", data=tickets), 2, "--golden")


def test_a_bad_gate_names_the_place(home: Path, tickets: Path, golden: Path) -> None:
    is_clear(launch("--golden", str(golden), "--gate", "exact_mach>=0.8", data=tickets), 2, "exact_match")


def test_data_and_golden_set_are_both_looked_at_before_anything_is_said(home: Path) -> None:
    (home / "data.jsonl").write_text("{bad\n" + row("a"))
    (home / "golden.jsonl").write_text('{"input": "x"}\n')
    is_clear(launch("--golden", "golden.jsonl", data="data.jsonl"), 1, "data.jsonl:1", "golden.jsonl:1")


def test_golden_rows_among_the_training_rows_are_refused_unless_accepted(home: Path) -> None:
    (home / "data.jsonl").write_text("\n".join(row(f"question {number}") for number in range(8)))
    (home / "golden.jsonl").write_text('{"input": "question 5", "target": "yes"}\n')
    result = launch("--golden", "golden.jsonl", data="data.jsonl")
    is_clear(result, 1, "data.jsonl:6", "golden set")
    assert launch("--golden", "golden.jsonl", "--allow-overlap", data="data.jsonl").exit_code == 0


def test_a_plan_that_does_not_fit_its_card(home: Path, tickets: Path) -> None:
    result = launch("--model", "llama-2-70b", data=tickets, preset="a10g-7b")
    is_clear(result, 1, "GiB", "A10G")


def test_an_unwritable_output_folder(home: Path, tickets: Path) -> None:
    (home / "file").write_text("")
    result = ql("launch", "--preset", "cpu-tiny", "--data", str(tickets), "--runs-dir", "file/runs")
    is_clear(result, 2, "cannot write runs")


def test_a_missing_trainer_python(home: Path, tickets: Path) -> None:
    result = ql("launch", "--preset", "cpu-tiny", "--data", str(tickets), "--trainer-python", "/no/such/python")
    is_clear(result, 3, "/no/such/python")
    assert not (home / "runs").exists()


def test_no_card_for_a_preset_that_needs_one(home: Path, tickets: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a card")
    result = ql("launch", "--preset", "a10g-7b", "--data", str(tickets))
    is_clear(result, 3, "no CUDA device", "--dry-run")
    assert not (home / "runs").exists()


def test_an_export_never_overwrites(home: Path, tickets: Path) -> None:
    argv = ["export", "--preset", "a10g-7b", "--data", str(tickets), "-o", "out"]
    assert ql(*argv).exit_code == 0
    (home / "out" / "config.yaml").write_text("edited: true\n")
    is_clear(ql(*argv), 2, "config.yaml", "not overwritten")
    assert (home / "out" / "config.yaml").read_text() == "edited: true\n"


def test_json_errors_are_json(home: Path) -> None:
    import sys
    import unittest.mock

    with unittest.mock.patch.object(sys, "argv", ["ql", "presets", "nope", "--json"]):
        result = ql("presets", "nope", "--json")
    assert json.loads(result.stdout)["exit_code"] == 2


@pytest.mark.parametrize("method", ["qlora", "both"])
def test_a_gate_on_what_the_run_will_not_make_is_refused_before_it_trains(
    method: str, home: Path, tickets: Path, golden: Path
) -> None:
    asked = ("--golden", str(golden), "--no-merge", "--method", method)
    is_clear(launch(*asked, "--gate", "exact_match>=merged-0.1", data=tickets), 2, "a run without merge does not make")
    assert launch(*asked, "--gate", "exact_match>=base", data=tickets).exit_code == 0


def test_a_name_that_is_empty_is_not_taken_for_one_left_out(home: Path, tickets: Path) -> None:
    is_clear(launch("--model", "", "--gpu", "", data=tickets), 2, "--model is empty", "--gpu is empty")


def test_a_file_whose_name_is_no_text(home: Path, tickets: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    (home / name).write_bytes(tickets.read_bytes())
    is_clear(launch(data=name), 2, "caf\\udce9.jsonl", "not UTF-8")
    result = ql("launch", "--preset", "cpu-tiny", "--data", str(tickets), "--out", os.fsdecode(b"r\xe9"))
    is_clear(result, 2, "r\\udce9", "not UTF-8")
    assert [path.name for path in home.iterdir()] == [name]
